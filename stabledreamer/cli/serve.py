"""stabledreamer serve, stabledreamer stop: Prefect's server and worker on this machine."""

import argparse
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from stabledreamer.cli.program import command
from stabledreamer_core.errors import UserError

EXAMPLES = """\
examples:
  stabledreamer serve
  .venv/bin/prefect deployment run 'dream/local' -p prompt="a red bear" --watch
  stabledreamer stop
"""
PATIENCE_S = 120.0  # after Ctrl-C: what was started must be ended, and that takes its time


def add_parser(subparsers: Any) -> None:
    """Register both subcommands."""
    parser = subparsers.add_parser(
        "serve",
        help="start Prefect's server and a worker on this machine",
        description="Start a Prefect server on 127.0.0.1 and a worker, deploy what prefect.yaml "
        "names, and return once all of it works. Again: say that it is up.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, metavar="N", help="default 4200")
    parser.add_argument("--limit", type=int, default=1, metavar="N", help="runs at once, default 1")
    parser.add_argument("--stop", action="store_true", help="as `stabledreamer stop`")
    parser.set_defaults(run=run, patience_s=PATIENCE_S)

    parser = subparsers.add_parser(
        "stop",
        help="end what `serve` started",
        description="End server, worker and runs. A run that is cut short goes on where it was "
        "when it is started again.",
    )
    parser.set_defaults(run=stop, patience_s=PATIENCE_S)


def run(args: argparse.Namespace) -> int:
    """Bring it up, and say how to use it."""
    if args.stop:
        return stop(args)
    if args.port is not None and not 1024 <= args.port < 2**16:
        raise UserError(f"--port is {args.port}; it must be from 1024 to 65535")
    if args.limit < 1:
        raise UserError(f"--limit is {args.limit}; it must be at least 1")
    from stabledreamer.runtime.served import auth_file
    from stabledreamer.runtime.serving import bring_up, point_prefect_here

    began = time.monotonic()
    served, already = bring_up(args.port, args.limit, _say)
    found = point_prefect_here(served)
    how = "already up" if already else f"up after {time.monotonic() - began:.0f} s"
    prefect = shlex.quote(_shown(Path(sys.executable).with_name("prefect")))
    print(f"{how}: {served.page} (Prefect), {served.pages} (assets)")
    asked = shlex.quote(_shown(auth_file()))
    print(f"Prefect's page asks for the line in {asked}")
    if not found:
        print(f"export PREFECT_API_URL={served.api}")
        print(f'export PREFECT_API_AUTH_STRING="$(cat {asked})"')
    print(f"""{prefect} deployment run 'dream/local' -p prompt="a red bear" --watch""")
    print(command("stop"))
    return 0


def stop(args: argparse.Namespace) -> int:
    """Bring it down."""
    from stabledreamer.runtime.serving import bring_down

    print("stopped" if bring_down() else "nothing is up")
    return 0


def _say(step: str) -> None:
    """Nobody may be listening any more; it goes up all the same."""
    with suppress(BrokenPipeError):
        print(f"{step} ...", flush=True)


def _shown(path: Path) -> str:
    """Relative where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
