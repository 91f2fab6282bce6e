"""stabledreamer evaluate: measure a finished asset again."""

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from stabledreamer.cli.options import Overrides
from stabledreamer_core.errors import UserError
from stabledreamer_core.settings.config import Config, with_overrides

EXAMPLES = """\
examples:
  stabledreamer evaluate outputs/a-blue-car-s3 --json
  stabledreamer evaluate outputs/a-blue-car-s3 --set evaluate.view_classifier=true
  stabledreamer evaluate outputs/a-blue-car-s3 --set evaluate.clip=openai/clip-vit-large-patch14
"""


app = App(name="evaluate", help_epilogue=EXAMPLES)


@app.default
def evaluate(
    dir: Path,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    overrides: Overrides = (),
) -> int:
    """Measure a finished asset.

    Measures it again, from its checkpoint, with its own settings. Prints only; docs/metrics.md says
    what the figures mean.

    Args:
        dir: the asset's folder.
        as_json: print run.json's `metrics` object.
        overrides: a setting other than the asset's, a.b=c; may be given often.
    """
    from tasks.run_record import jsonable, read_asset

    record = read_asset(dir)
    config = with_overrides(config_of(dir, record), list(overrides))

    from stabledreamer_core.optimization.checkpoint import load_checkpoint
    from stabledreamer_core.optimization.stage import pick_device
    from tasks.keys import MESH, STAGE2
    from toybox.metrics.evaluate import evaluate as measure

    splats, _ = load_checkpoint(dir / STAGE2)
    device = pick_device(config.device)
    measured = measure(splats, record["prompt"], config.evaluate, device, dir / MESH)
    metrics = jsonable(measured)
    if as_json:
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
