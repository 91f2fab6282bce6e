"""The tables of faces.yaml and faces-heldout.yaml: how much of a toy looks like its front.

    python -m benchmarks.search.make_assets benchmarks/claims/faces.yaml --out outputs/faces
    python -m benchmarks.claims.suite_table outputs/faces
    python -m benchmarks.claims.faces benchmarks/claims/faces.yaml outputs/faces

True toys are the row `true`; what has more than twice as much of a front is too frontal. Toys of
one category tend to fail alike, so every test is repeated with categories for prompts. Every
asset's figures are in OUT/rows.jsonl; given such a file for OUT, it prints the tables of it.

With --strips it needs only the first command and no Gaussians: the judge sees the eight small views
that make_assets leaves of each asset's last stage, so that shares move by 1/8, and there is no
geometry.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.claims.rows import Row, read_settings
from benchmarks.claims.statistics import compare, describe
from benchmarks.claims.tables import markdown, summarise
from benchmarks.search.results import read_results, result_name, row_of, write_results
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.files import atomic_write
from stabledreamer_core.optimization.stage import pick_device
from stabledreamer_core.settings.output import Evaluate
from toybox.captions import parse
from toybox.catalogue import Toy
from toybox.judge import load_judge
from toybox.metrics.evaluate import evaluate_views
from toybox.metrics.judged import judge_views, share_named, share_near
from toybox.metrics.pictures import VIEWS, true_camera

TOO_FRONTAL = 0.25  # twice the true share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, help="faces.yaml")
    parser.add_argument("out", type=Path, help="what make_assets made, and suite_table measured")
    parser.add_argument("--strips", action="store_true", help="of eight views each, unmeasured")
    parser.add_argument("--rows", type=Path, help="where the figures go; default: OUT/rows.jsonl")
    parser.add_argument("--page", type=Path, help="write the tables there, too")
    arguments = parser.parse_args()
    out = arguments.out
    if out.is_file():
        rows = read_results(out)
    else:
        rows = all_rows(out, arguments.strips)
        write_results(arguments.rows or out / "rows.jsonl", rows)
    text = tables(rows, read_settings(arguments.file)["claims"])
    print(text, end="")
    if arguments.page:
        with atomic_write(arguments.page) as temporary:
            temporary.write_text(page(arguments.file, text), encoding="utf-8")


def page(file: Path, text: str) -> str:
    """The tables under a heading that says whose they are."""
    name = file.stem
    made = f"`dvc repro benchmarks/experiments/dvc.yaml:faces@{name}`"
    return (
        f"# {name}\n\nWhat was made: [{file.name}](../../benchmarks/claims/{file.name}); every "
        f"asset's figures: [{name}.jsonl]({name}.jsonl); repeat both by {made}.\n\n{text}"
    )


def tables(rows: list[Row], claims: list[dict[str, Any]]) -> str:
    """All of them as Markdown: `frontal` by variant, its tests, and those of the other metrics."""
    tests = "By category:\n\n" + paired_tests(by_category(rows), claims)
    return f"{table(rows, claims)}\n{tests}\n{markdown(summarise(rows, claims))}"


def all_rows(out: Path, strips: bool) -> list[Row]:
    """Of all assets, and of the true toys asked for."""
    config = load_config()
    settings, device = config.evaluate, pick_device(config.device)
    if strips:
        rows = list(strip_rows(out, settings, device))
    else:
        rows = [row_of(asset, asset["metrics"]) for asset in read_results(out / "measured.jsonl")]
    for prompt in dict.fromkeys(row["prompt"] for row in rows):
        camera = true_camera(_toy(prompt), settings.elevation_deg)
        true = evaluate_views(camera, prompt, settings, torch.device("cpu"))
        rows.append({"variant": "true", "prompt": prompt, "seed": 0, "metrics": true})
    return rows


def strip_rows(out: Path, settings: Evaluate, device: torch.device) -> Iterator[Row]:
    """make_assets.py's assets, seen in its strips: eight square views from azimuth 0, 45, ..."""
    judge = load_judge(settings.judge, device)
    for asset in read_results(out / "results.jsonl"):
        last = 2 if "loss2" in asset else 1
        with Image.open(out / result_name(asset, "strips", f"-{last}.png")) as strip:
            pixels = torch.from_numpy(np.array(strip.convert("RGB"))).to(device) / 255.0
        views = pixels.unflatten(1, (VIEWS, -1)).permute(1, 3, 0, 2)
        seen = judge_views(judge, views[None])["view"]
        shares = {"view": share_near(seen, 1), "view_exact": share_near(seen, 0)}
        yield row_of(asset, shares | {"frontal": share_named(seen, 0)})


def _toy(prompt: str) -> Toy:
    toy = parse(prompt).toy
    assert toy is not None, prompt
    return toy


def by_category(rows: list[Row]) -> list[Row]:
    """The rows with categories for prompts, and each of its toys' seeds as a seed of its own."""
    seeds: dict[tuple[str, int], int] = {}
    return [
        {
            **row,
            "prompt": _toy(row["prompt"]).category,
            "seed": seeds.setdefault((row["prompt"], row["seed"]), len(seeds)),
        }
        for row in rows
    ]


def table(rows: list[Row], claims: list[dict[str, Any]]) -> str:
    """`frontal` by variant, and the claims' paired tests of it."""
    lines = ["| | frontal | most | too frontal |", "|---|---|---|---|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        values = [row["metrics"]["frontal"] for row in rows if row["variant"] == variant]
        found = describe(rows, variant, "frontal")
        assert found is not None
        mean = f"{found['mean']:.3f} ± {found['spread'] or 0.0:.3f}"
        many = f"{sum(value > TOO_FRONTAL for value in values)} of {len(values)}"
        lines.append(f"| {variant} | {mean} | {max(values):.3f} | {many} |")
    return "\n".join(lines) + "\n\n" + paired_tests(rows, claims)


def paired_tests(rows: list[Row], claims: list[dict[str, Any]]) -> str:
    """The claims' paired tests of `frontal`, over the assets that both have."""
    lines = ["| ours - other, frontal | difference | 95 % | p | n |", "|---|---|---|---|---|"]
    for claim in claims:
        paired = compare(rows, claim["ours"], claim["other"], "frontal")
        if paired:
            names = f"{claim['ours']} - {claim['other']}"
            ends = [f"{paired[end] or 0.0:+.3f}" for end in ("low", "high")]
            cells = [names, f"{paired['difference']:+.3f}", " to ".join(ends), f"{paired['p']:.4f}"]
            lines.append(f"| {' | '.join(cells)} | {paired['n']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
