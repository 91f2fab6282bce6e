"""stabledreamer debug: what the prior makes of renders, as one picture."""

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  stabledreamer debug outputs/a-blue-car-s3
  stabledreamer debug outputs/a-blue-car-s3 --stage 2 --noise 0.3 0.6 0.9 --out debug.png
"""


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "debug",
        help="see what the prior makes of an asset's renders",
        description="For four views and a few noise levels: the render, the noised render, and "
        "what the prior takes it to be in one step (the target of the loss) and in many.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="a finished asset's folder")
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1, help="default 1")
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[0.2, 0.5, 0.8], metavar="T",
        help="noise levels in (0, 1), default 0.2 0.5 0.8",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="default DIR/debug-stage<N>.png")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the picture."""
    from cli.debug_picture import write_picture

    path = args.out or args.dir / f"debug-stage{args.stage}.png"
    write_picture(args.dir, args.stage, args.noise, path)
    print(path)
    return 0
