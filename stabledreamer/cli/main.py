"""The command line: subcommands, and what becomes of mistakes, interruptions and faults.

Exit codes: 0 done, 2 the user's mistake (one line on stderr), 1 ours, 130 interrupted.
"""

import argparse
import errno
import os
import sys
import traceback
import warnings
from typing import Any, NoReturn

from stabledreamer.cli.program import command
from stabledreamer.runtime import prefect_home as prefect_home  # before Prefect
from stabledreamer.runtime import stopping
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
AGAIN = "free some space and run the same command again"


class Parser(argparse.ArgumentParser):
    """argparse that tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code. A stop ends the process with 130."""
    with stopping.heeded(_say_how_to_go_on) as watch:
        warnings.showwarning = _warn
        try:
            code = _run(arguments, watch)
        except UserError as error:
            code = _mistake(str(error))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except OSError as error:
            full = error.errno in FULL_DISK
            code = _mistake(f"the disk is full; {AGAIN}") if full else _fault()
        except Exception:
            code = _fault()
        if code:  # such as a suite's, in which assets failed: perhaps of the stop
            stopping.check()
        return code


def _run(arguments: list[str] | None, watch: stopping.Watch) -> int:
    try:
        parsed = build_parser().parse_args(arguments)
        watch.patience_s = getattr(parsed, "patience_s", watch.patience_s)
        return int(parsed.run(parsed))
    except BaseException:
        stopping.check()  # whatever others made of the stop, it is no error
        raise


def build_parser() -> Parser:
    """The parser with all subcommands."""
    # Not before a stop can be heeded: they take a quarter of a second.
    from stabledreamer.cli import debug, doctor, dream, evaluate, serve, suite, view

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


def _say_how_to_go_on() -> None:
    again = command(*sys.argv[1:])
    print(f"\ninterrupted; nothing is lost, go on with: {again}", file=sys.stderr, flush=True)
