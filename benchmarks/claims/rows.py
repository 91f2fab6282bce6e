"""What the benchmarks measured, as the rows that statistics.py takes.

The small benchmark leaves one JSON file an asset, with the metrics after each of the two stages:
the variants "default" and "default-stage1". The one for GPUs leaves one file a variant with one
line an asset, as suite_table.py and nerf_measure.py write it.
"""

import json
import math
import statistics
from pathlib import Path
from typing import Any

import yaml

SMALL = Path("benchmarks/claims/small.yaml")
SMALL_OUT = Path("outputs/benchmark")
GPU = Path("benchmarks/claims/gpu.yaml")
GPU_OUT = Path("outputs/benchmark-gpu")
BINS = 25  # of a loss curve

Row = dict[str, Any]


def read_settings(path: Path) -> dict[str, Any]:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(settings, dict)
    return settings


def small_rows(settings: dict[str, Any], out: Path = SMALL_OUT) -> list[Row]:
    """Of every prompt and recipe under `matrix`, after stage 1 where there is one, and at last."""
    rows = []
    for recipe in settings["matrix"]["recipes"]:
        for ending, stage in (("-stage1", "stage1"), ("", "stage2")):
            for prompt in settings["matrix"]["prompts"]:
                asset = json.loads((out / "metrics" / f"{prompt}-{recipe}.json").read_text())
                if stage in asset:
                    kept = {"prompt": asset["prompt"], "seed": asset["seed"]}
                    rows.append({"variant": recipe + ending, **kept, "metrics": asset[stage]})
    return rows


def gpu_rows(settings: dict[str, Any], out: Path = GPU_OUT) -> list[Row]:
    """Of every variant that has been measured; the others are left out."""
    rows = []
    for variant in (*settings["ablations"], *settings["peers"], "nerf"):
        file = out / "measured" / f"{variant}.jsonl"
        for line in file.read_text().splitlines() if file.exists() else ():
            asset = json.loads(line)
            kept = {name: asset[name] for name in ("prompt", "seed", "metrics")}
            rows.append({"variant": variant, **kept})
    return rows


def small_losses(settings: dict[str, Any], out: Path = SMALL_OUT) -> dict[str, list[Row]]:
    """By stage: its `BINS` equal parts, with each recipe's mean loss in them, over all prompts.

    None where a recipe has no step in that part, as where it leaves the stage out.
    """
    recipes, curves = settings["matrix"]["recipes"], {}
    for stage in ("stage1", "stage2"):
        binned = {recipe: _binned(settings, recipe, stage, out) for recipe in recipes}
        curves[stage] = [
            {"progress": (part + 1) / BINS, **_means(binned, part)} for part in range(BINS)
        ]
    return curves


def _binned(settings: dict[str, Any], recipe: str, stage: str, out: Path) -> list[list[float]]:
    losses: list[list[float]] = [[] for _ in range(BINS)]
    for prompt in settings["matrix"]["prompts"]:
        file = out / "losses" / f"{prompt}-{recipe}-{stage}.csv"
        for line in file.read_text().splitlines()[1:]:
            progress, loss = map(float, line.split(","))
            losses[max(0, math.ceil(progress * BINS - 1e-6) - 1)].append(loss)
    return losses


def _means(binned: dict[str, list[list[float]]], part: int) -> Row:
    return {
        recipe: statistics.fmean(losses[part]) if losses[part] else None
        for recipe, losses in binned.items()
    }
