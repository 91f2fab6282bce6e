"""stabledreamer evaluate: measure a finished asset again."""

import argparse
import json
from pathlib import Path
from typing import Any

from stabledreamer_core.errors import UserError
from stabledreamer_core.settings.config import Config, with_overrides

EXAMPLES = """\
examples:
  stabledreamer evaluate outputs/a-blue-car-s3 --json
  stabledreamer evaluate outputs/a-blue-car-s3 --set evaluate.view_classifier=true
  stabledreamer evaluate outputs/a-blue-car-s3 --set evaluate.clip=openai/clip-vit-large-patch14
"""


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a finished asset",
        description="Measure an asset again, from its checkpoint, with its own settings. Prints "
        "only; docs/metrics.md says what the figures mean.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="the asset's folder")
    parser.add_argument("--json", action="store_true", help="print run.json's `metrics` object")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="a.b=c",
        help="one setting other than the asset's; may be given often",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the metrics."""
    from tasks.run_record import jsonable, read_asset

    record = read_asset(args.dir)
    config = with_overrides(config_of(args.dir, record), args.overrides)

    from stabledreamer_core.optimization.checkpoint import load_checkpoint
    from stabledreamer_core.optimization.stage import pick_device
    from tasks.keys import MESH, STAGE2
    from toybox.metrics.evaluate import evaluate

    splats, _ = load_checkpoint(args.dir / STAGE2)
    device = pick_device(config.device)
    measured = evaluate(splats, record["prompt"], config.evaluate, device, args.dir / MESH)
    metrics = jsonable(measured)
    if args.json:
        print(json.dumps(metrics, indent=2))
        return 0
    for name, value in metrics.items():
        print(f"{name:24s} {'-' if value is None else f'{value:.4f}'}")
    return 0


def config_of(folder: Path, record: dict[str, Any]) -> Config:
    """The settings an asset was made with.

    Raises:
        UserError: this version does not know them.
    """
    try:
        config = Config.model_validate(record.get("config"))
        if config.model_dump(mode="json") != record["config"]:
            raise ValueError  # a default would stand in for what was used
        return config
    except ValueError:
        raise UserError(
            f"{folder} was made with other settings than this version knows; "
            "make it again with `stabledreamer dream`"
        ) from None
