"""stabledreamer debug: what the prior makes of renders, as pictures and a video."""

import argparse
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  stabledreamer dream "a blue car" --seed 3 --set debug.every=50    # records while it is made
  stabledreamer debug outputs/a-blue-car-s3 --video
  stabledreamer debug outputs/a-blue-car-s3 --stage 2 --noise 0.1 0.3 0.6
  stabledreamer debug outputs/a-blue-car-s3 --set stage1.guidance_scale=20 --out strong.png
"""


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "debug",
        help="see what the prior makes of an asset's renders",
        description="For a few views and noise levels: the render, the noised render, what the "
        "prior takes it to be in one step (the target of the loss) and in many, their difference "
        "and the loss. Works on finished assets and on those in the making. Of a run that was "
        "recorded (--set debug.every=N), also how these went. docs/debugger.md says how to read "
        "the pictures.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="an asset's folder")
    parser.add_argument("--stage", type=int, choices=(1, 2), default=1, help="default 1")
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[0.2, 0.5, 0.8], metavar="T",
        help="noise levels in (0, 1), default 0.2 0.5 0.8",
    )  # fmt: skip
    parser.add_argument(
        "--video", action="store_true", help="write DIR/debug/stage<N>.mp4 of the recorded run"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE",
        help="Gaussians to look at (.safetensors), default the stage's result, or its newest state",
    )  # fmt: skip
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="a.b=c",
        help="ask the prior with another setting; may be given often",
    )  # fmt: skip
    parser.add_argument(
        "--params", type=Path, metavar="FILE", help="of an unfinished asset: what dream was given"
    )
    parser.add_argument("--quick", action="store_true", help="the same")
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help="default DIR/debug-stage<N>.png, and the report shows it too",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw what was recorded, then what the prior makes of the result; print each file's path."""
    from stabledreamer.cli.debug_asset import check_levels, draw_result, draw_run, find_subject

    check_levels(args.noise)
    subject = find_subject(args.dir, args.stage, args.checkpoint)
    for path in draw_run(subject, args.video):
        print(path, flush=True)
    if subject.checkpoint is None:
        print(f"stage {args.stage} has no checkpoint to look at yet", file=sys.stderr)
        return 0
    for path in draw_result(subject, args.noise, args.out, args.overrides, args.params, args.quick):
        print(path, flush=True)
    return 0
