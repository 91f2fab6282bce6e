"""How to call this program again, for messages that say what to do next."""

import os
import shlex
import shutil
import sys


def command(*arguments: object) -> str:
    """A line for the shell: `stabledreamer ...`, or with its path where it is not on PATH."""
    program = "stabledreamer"
    if shutil.which(program) is None and os.path.basename(sys.argv[0]) == program:
        program = os.path.relpath(sys.argv[0])
    return shlex.join([program, *map(str, arguments)])
