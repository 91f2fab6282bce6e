"""The command line: subcommands, and what becomes of mistakes, interruptions and faults.

Exit codes: 0 done, 2 the user's mistake (one line on stderr), 1 ours, 130 interrupted.
"""

import argparse
import errno
import os
import signal
import sys
import traceback
import warnings
from typing import Any, NoReturn

from cli import debug, doctor, dream, evaluate, serve, suite, view
from cli.program import command
from stabledreamer_core.errors import UserError

EXAMPLES = """\
examples:
  stabledreamer dream "a red bear wearing a top hat"
  stabledreamer dream "a blue car" --seed 3 --quick
  stabledreamer suite prompts/toybox.yaml --out outputs/toybox
  stabledreamer view outputs/a-blue-car-s3
  stabledreamer doctor
"""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class Parser(argparse.ArgumentParser):
    """argparse that tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _warn
    try:
        parsed = build_parser().parse_args(arguments)
        return int(parsed.run(parsed))
    except UserError as error:
        return _mistake(str(error))
    except KeyboardInterrupt:
        _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in FULL_DISK:
            return _mistake("the disk is full; free some space and run the same command again")
        return _fault()
    except Exception:
        return _fault()


def build_parser() -> Parser:
    """The parser with all subcommands."""
    parser = Parser(
        prog="stabledreamer",
        description="A sentence becomes a 3D asset.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (dream, suite, serve, debug, evaluate, view, doctor):
        module.add_parser(subparsers)
    return parser


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line, without the place in the code; above the progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _mistake(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _fault() -> int:
    traceback.print_exc()
    print("error: this is a fault of StableDreamer; please report the lines above", file=sys.stderr)
    return 1


def _interrupted() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut this line short
    again = command(*sys.argv[1:])
    print(f"\ninterrupted; nothing is lost, go on with: {again}", file=sys.stderr, flush=True)
    os._exit(130)  # tearing down torch and Prefect takes seconds that nobody wants to wait


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
