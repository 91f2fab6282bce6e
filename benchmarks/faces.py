"""How much of a toy looks like its front, finer than `multi_face`, and the tables of faces.yaml.

    python -m benchmarks.recipe_search benchmarks/faces.yaml --out outputs/faces --keep --unscored
    python -m benchmarks.suite_table outputs/faces
    python -m benchmarks.faces benchmarks/faces.yaml outputs/faces

`frontal` is the share of azimuths that the judge takes for "front view"; true toys, the row `true`,
have an eighth. It misleads where the judge takes something else for a front. OUT/rows.jsonl has it
for every asset, beside its other metrics.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.benchmark_rows import Row, read_settings
from benchmarks.benchmark_statistics import compare, describe
from benchmarks.benchmark_tables import markdown, summarise
from benchmarks.recipe_search import result_name
from stabledreamer_core.config import Evaluate, load_config
from stabledreamer_core.files import atomic_write
from stabledreamer_core.gaussians import load_ply
from stabledreamer_core.metrics import photograph
from stabledreamer_core.metrics.judged import judge_views
from stabledreamer_core.metrics.pictures import Camera, asset_camera, true_camera
from stabledreamer_core.stage import pick_device
from toybox.captions import parse
from toybox.judge import load_judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, help="faces.yaml")
    parser.add_argument("out", type=Path, help="what suite_table.py measured, with plys/")
    arguments = parser.parse_args()
    config, claims = load_config(), read_settings(arguments.file)["claims"]
    settings, device = config.evaluate, pick_device(config.device)
    rows = measured_rows(arguments.out / "measured.jsonl")
    for row in rows:
        name = result_name({**row, "recipe": row["variant"]}, "plys", "-1.ply")
        camera = asset_camera(load_ply(arguments.out / name), settings.elevation_deg, device)
        row["metrics"]["frontal"] = frontal(camera, settings, device)
    for prompt in dict.fromkeys(row["prompt"] for row in rows):
        toy = parse(prompt).toy
        assert toy is not None, prompt
        camera = true_camera(toy, settings.elevation_deg)
        true = {"frontal": frontal(camera, settings, torch.device("cpu"))}
        rows.append({"variant": "true", "prompt": prompt, "seed": 0, "metrics": true})
    with atomic_write(arguments.out / "rows.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(table(rows, claims))
    print(markdown(summarise(rows, claims)), end="")


def measured_rows(file: Path) -> list[Row]:
    """suite_table.py's assets as the rows that benchmark_statistics.py takes."""
    assets = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [
        {"variant": asset["recipe"]} | {name: asset[name] for name in ("prompt", "seed", "metrics")}
        for asset in assets
    ]


def frontal(camera: Camera, settings: Evaluate, device: torch.device) -> float:
    """The share of `settings.front_views` even azimuths whose likeliest arc is the front."""
    judge = load_judge(settings.judge, device)
    azimuths = torch.arange(settings.front_views) * (360.0 / settings.front_views)
    seen = judge_views(judge, photograph(camera, azimuths, settings, settings.resolution))
    return (seen["view"].argmax(1) == 0).double().mean().item()


def table(rows: list[Row], claims: list[dict[str, Any]]) -> str:
    """`frontal` by variant, and the claims' paired tests of it."""
    lines = ["| | frontal | most | assets |", "|---|---|---|---|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        values = [row["metrics"]["frontal"] for row in rows if row["variant"] == variant]
        found = describe(rows, variant, "frontal")
        assert found is not None
        mean = f"{found['mean']:.3f} ± {found['spread'] or 0.0:.3f}"
        lines.append(f"| {variant} | {mean} | {max(values):.3f} | {len(values)} |")
    lines += ["", "| ours - other, frontal | difference | p |", "|---|---|---|"]
    for claim in claims:
        paired = compare(rows, claim["ours"], claim["other"], "frontal")
        if paired:
            names = f"{claim['ours']} - {claim['other']}"
            lines.append(f"| {names} | {paired['difference']:+.3f} | {paired['p']:.4f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
