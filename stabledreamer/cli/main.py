"""The command line: subcommands, and what becomes of mistakes, interruptions and faults.

Exit codes: 0 done, 2 the user's mistake (one line on stderr), 1 ours, 130 interrupted.
"""

import errno
import os
import sys
import traceback
import warnings
from typing import Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import UnusedCliTokensError

from stabledreamer.cli.program import command
from stabledreamer.runtime import prefect_home as prefect_home  # before Prefect
from stabledreamer.runtime import stopping
from stabledreamer_core import __version__
from stabledreamer_core.errors import UserError

EXAMPLES = """\
examples:
  stabledreamer dream "a red bear wearing a top hat"
  stabledreamer dream "a blue car" --seed 3 --quick
  stabledreamer suite prompts/toybox.yaml --out outputs/toybox
  stabledreamer view outputs/a-blue-car-s3
  stabledreamer export outputs/a-blue-car-s3 --format spz usdz
  stabledreamer priors list
  stabledreamer doctor
"""
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
AGAIN = "free some space and run the same command again"


COMMANDS = (
    *("dream", "suite", "view", "export", "evaluate", "debug", "settings", "priors", "serve"),
    *("bench", "doctor"),
)
WELCOME = """\
Welcome to StableDreamer. A first asset takes a minute or two:

  {dream}

"""
# After Ctrl-C what was started must be ended, and that takes its time.
PATIENCE_S = {"serve": 120.0, "stop_all": 120.0}

app = App(
    name="stabledreamer",
    help="A sentence becomes a 3D asset.",
    help_format="plaintext",
    help_epilogue=EXAMPLES,
    version=__version__,
    default_parameter=Parameter(negative=(), show_default=False),
)
for _name in COMMANDS:  # each is imported when it is called
    app.command(f"stabledreamer.cli.{_name}:app", name=_name)
app.command("stabledreamer.cli.serve:stop_app", name="stop")


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
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words:
        print(WELCOME.format(dream=command("dream", "a red bear", "--quick")), end="")
    if not words or words[0] in ("--help", "-h"):  # which lists what each command does
        for name in (*COMMANDS, "stop"):
            app[name]
    try:
        call, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
        watch.patience_s = PATIENCE_S.get(call.__name__, watch.patience_s)
        return int(call(*bound.args, **bound.kwargs) or 0)
    except CycloptsError as error:
        return _mistake(_explained(error))
    except BaseException:
        stopping.check()  # whatever others made of the stop, it is no error
        raise


def _explained(error: CycloptsError) -> str:
    """What is wrong with the words of a command, and where to look."""
    says, _, _ = str(error).strip().partition(" Available commands:")
    says = says.rstrip(".")
    if isinstance(error, UnusedCliTokensError):
        says = f"too many words: {' '.join(error.unused_tokens or ())}"
    return f"{says} (see {' '.join(['stabledreamer', *(error.command_chain or ())])} --help)"


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
