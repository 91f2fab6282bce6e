"""stabledreamer evaluate: measure a finished asset again."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a finished asset",
        description="Measure an asset again, from its checkpoint, with its own settings.",
        epilog="example:\n  stabledreamer evaluate outputs/a-blue-car-s3 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="the asset's folder")
    parser.add_argument("--json", action="store_true", help="print run.json's `metrics` object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the metrics."""
    from pydantic import ValidationError

    from stabledreamer_core.checkpoint import load_checkpoint
    from stabledreamer_core.config import Config
    from stabledreamer_core.errors import UserError
    from stabledreamer_core.keys import STAGE2
    from stabledreamer_core.metrics import evaluate
    from stabledreamer_core.run_record import read_asset
    from stabledreamer_core.stage import pick_device

    record = read_asset(args.dir)
    try:
        config = Config.model_validate(record.get("config"))
    except ValidationError:
        raise UserError(
            f"{args.dir} was made with other settings than this version knows; "
            "make it again with `stabledreamer dream`"
        ) from None
    splats, _ = load_checkpoint(args.dir / STAGE2)
    metrics = evaluate(splats, record["prompt"], config.evaluate, pick_device(config.device))
    if args.json:
        print(json.dumps(metrics, indent=2))
        return 0
    for name, value in metrics.items():
        print(f"{name:24s} {'-' if value is None else f'{value:.4f}'}")
    return 0
