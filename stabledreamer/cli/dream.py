"""stabledreamer dream: one prompt, one asset."""

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stabledreamer.cli.program import command

if TYPE_CHECKING:
    from tasks.job import Request

EXAMPLES = """\
examples:
  stabledreamer dream "a red bear wearing a top hat"
  stabledreamer dream "a blue car" --seed 3 --quick
  stabledreamer dream "a blue car" --set stage1.iterations=900 --set mesh.resolution=192
  stabledreamer dream "a corgi wearing a top hat" --params params/paper.yaml
"""


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "dream",
        help="make a 3D asset from a sentence",
        description="Make a 3D asset from a sentence. The same command again continues, or "
        "makes what is missing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", help="what to make")
    add_run_options(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default outputs/<prompt>-s<seed>")
    parser.set_defaults(run=run)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options that every command which computes has."""
    parser.add_argument("--params", type=Path, metavar="FILE", help="settings over params.yaml")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="a.b=c",
        help="one setting; may be given often",
    )
    parser.add_argument("--quick", action="store_true", help="the fast preset")
    parser.add_argument(
        "--verbose", action="store_true", help="show the log: settings, rates, memory"
    )


def run(args: argparse.Namespace) -> int:
    """Check, say so if all is done, else run the flow."""
    if args.verbose:
        os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"
    began = time.monotonic()
    from tasks import ledger, run_record
    from tasks.checks import prepare

    job = prepare(request(args))
    lacks = ledger.lacking(job)
    if not lacks:
        print(f"already finished: {job.out}")
        if job.config.debug.every and not (job.out / "debug").exists():
            print("a run is recorded only while it goes on; give another --out to record one")
        return 0
    if run_record.read(job.out):
        print(f"{job.out}: to be made again: {', '.join(lacks)}")
    from stabledreamer.runtime.server import prefect_server

    with prefect_server():
        from flows.dream import make_asset

        make_asset(job)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"finished in {minutes} min {seconds} s: {job.out}")
    print(f"look at it: {command('view', job.out)}")
    return 0


def request(args: argparse.Namespace) -> "Request":
    """What the options ask for."""
    from tasks.job import Request

    return Request(
        args.prompt,
        args.seed,
        params=args.params and str(args.params),
        overrides=tuple(args.overrides),
        quick=args.quick,
        out=args.out and str(args.out),
    )
