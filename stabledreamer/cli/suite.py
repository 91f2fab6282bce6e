"""stabledreamer suite: many prompts, one folder each, and a summary."""

import argparse
import os
from pathlib import Path
from typing import Any

from stabledreamer.cli.dream import add_run_options

EXAMPLES = """\
examples:
  stabledreamer suite prompts/toybox.yaml --out outputs/toybox
  stabledreamer suite prompts/toybox.yaml --seeds 0 1 2 --quick
  stabledreamer suite prompts/toybox.yaml --batch 16                          # one GPU
  stabledreamer suite prompts/toybox.yaml --batch 16 --runner ray --workers 8 # several GPUs

The file: a list of prompts, or `prompts:` and `seeds:`.
"""


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "suite",
        help="make the assets of a file of prompts",
        description="Make an asset a prompt and seed. One that fails does not stop the others; "
        "the same command again makes what is missing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="YAML file of prompts")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default outputs/<file's name>")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="N", help="instead of the file's")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="assets at once")
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="objects optimised at once, on a GPU"
    )
    parser.add_argument(
        "--runner", choices=("threads", "ray"), default="threads", help="where assets are made"
    )
    parser.add_argument("--ray-address", metavar="HOST:PORT", help="of a Ray cluster that is there")
    add_run_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the suite; 1 if some prompts failed."""
    if args.verbose:
        os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"
    from flows.prompts_file import read_prompts
    from stabledreamer.runtime.runners import check_runner
    from stabledreamer.runtime.server import prefect_server

    # Mistakes are told before a server starts.
    read_prompts(args.file)
    check_runner(args.runner, args.workers, args.batch, args.ray_address)
    out = args.out or Path("outputs") / args.file.stem
    with prefect_server():
        from flows.suite import suite

        summary = suite(
            str(args.file),
            str(out),
            seeds=args.seeds,
            params=str(args.params) if args.params else None,
            overrides=args.overrides,
            quick=args.quick,
            workers=args.workers,
            batch=args.batch,
            runner=args.runner,
            ray_address=args.ray_address,
        )
    for failure in summary["failures"]:
        print(f"failed: {failure['prompt']!r} seed {failure['seed']}: {failure['error']}")
    print(f"{len(summary['assets'])} assets, {len(summary['failures'])} failures: {out}")
    return 1 if summary["failures"] else 0
