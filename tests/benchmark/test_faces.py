"""How much of a toy looks like its front, on true pictures and on made-up figures."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.claims.faces import by_category, page, paired_tests, strip_rows, table, tables
from benchmarks.claims.rows import read_settings
from benchmarks.search.results import read_results, result_name
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config
from toybox.captions import caption
from toybox.catalogue import CATEGORIES, Toy
from toybox.heldout import heldout_toys
from toybox.metrics.pictures import eight_azimuths, true_camera

SETTINGS = load_config().evaluate
CPU = torch.device("cpu")


def test_the_table_has_every_variant_and_the_claims_that_were_measured() -> None:
    rows = [
        {"variant": name, "prompt": f"toy {n}", "seed": 0, "metrics": {"frontal": share}}
        for name, share in (("words", 0.125), ("plain", 0.5))
        for n in range(6)
    ]
    claims = [{"ours": "words", "other": "plain"}, {"ours": "words", "other": "absent"}]
    text = table(rows, claims)
    assert "| words | 0.125 ± 0.000 | 0.125 | 0 of 6 |" in text
    assert "| plain | 0.500 ± 0.000 | 0.500 | 6 of 6 |" in text
    assert "| words - plain | -0.375 | -0.375 to -0.375 | 0.0312 | 6 |" in text  # 2 / 2^6
    assert "absent" not in text


def test_toys_of_a_category_are_one_trial() -> None:
    """Two bears and a duck, of which the other recipe lacks one asset, which is left out."""
    shares = {"a red bear": (0.5, 0.25), "a blue bear": (1.0, 0.25), "a red duck": (0.125, 0.25)}
    rows = [
        {"variant": variant, "prompt": prompt, "seed": seed, "metrics": {"frontal": share}}
        for prompt, both in shares.items()
        for variant, share in zip(("ours", "other"), both, strict=True)
        for seed in (0, 1)
    ]
    rows.remove(rows[7])  # the other recipe's blue bear, seed 1
    text = paired_tests(by_category(rows), [{"ours": "ours", "other": "other"}])
    bears = (0.25 + 0.25 + 0.75) / 3
    assert f"| ours - other | {(bears - 0.125) / 2:+.3f} |" in text and text.endswith("| 2 |\n")


def test_all_heldout_toys_with_a_front_are_asked_for() -> None:
    asked = read_settings(Path("benchmarks/claims/faces-heldout.yaml"))["prompts"]
    fronts = [toy for toy in heldout_toys() if CATEGORIES[toy.category].has_front]
    assert asked == [caption(toy) for toy in fronts]


@pytest.mark.parametrize("name", ["faces-strong", "faces-schedules", "faces-cures"])
def test_the_pages_show_the_committed_rows(name: str) -> None:
    """`benchmarks.claims.faces FILE ROWS --page PAGE` writes them anew."""
    file, published = ROOT / f"benchmarks/claims/{name}.yaml", ROOT / "metrics/experiments"
    text = tables(read_results(published / f"{name}.jsonl"), read_settings(file)["claims"])
    assert (published / f"{name}.md").read_text() == page(file, text)


def test_strips_are_judged_as_the_views_they_show(tmp_path: Path) -> None:
    """Of a true toy, and of one that shows its front three times more, after stage 2."""
    prompt = "a purple fish on a pink cube"
    camera = true_camera(Toy("fish", "purple", "cube", "pink"), SETTINGS.elevation_deg)
    turned = {"true": eight_azimuths(), "wide": torch.tensor([0, 45, 0, 135, 180, 0, 0, 315.0])}
    results = []
    for recipe, azimuths in turned.items():
        cutout = camera(azimuths, 96)
        pictures = cutout.colour + (1.0 - cutout.alpha) * 0.6
        pixels = (pictures.clamp(0, 1) * 255).round().byte().permute(2, 0, 3, 1).flatten(1, 2)
        results.append({"recipe": recipe, "prompt": prompt, "seed": 1})
        last = 2 if recipe == "wide" else 1
        results[-1] |= {f"loss{number}": 0.1 for number in range(1, last + 1)}
        strip = tmp_path / result_name(results[-1], "strips", f"-{last}.png")
        strip.parent.mkdir(parents=True)
        Image.fromarray(pixels.numpy()).save(strip)
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in results))
    true, wide = strip_rows(tmp_path, SETTINGS, CPU)
    assert (true["variant"], true["prompt"], true["seed"]) == ("true", prompt, 1)
    assert true["metrics"] == {"view": 1.0, "view_exact": 1.0, "frontal": 0.125}
    assert wide["metrics"] == {"view": 0.625, "view_exact": 0.625, "frontal": 0.5}
