"""How much of a toy looks like its front, on true pictures and on made-up figures."""

import json
from pathlib import Path

import torch
from PIL import Image

from benchmarks.faces import strip_rows, table
from benchmarks.recipe_search import result_name
from stabledreamer_core.config import load_config
from stabledreamer_core.metrics.pictures import eight_azimuths, true_camera
from toybox.catalogue import Toy

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
    assert "| words - plain | -0.375 | -0.375 to -0.375 | 0.0312 |" in text  # 2 / 2^6
    assert "absent" not in text


def test_strips_are_judged_as_the_views_they_show(tmp_path: Path) -> None:
    """Of a true toy, and of one that shows its front three times more."""
    prompt = "a purple fish on a pink cube"
    camera = true_camera(Toy("fish", "purple", "cube", "pink"), SETTINGS.elevation_deg)
    turned = {"true": eight_azimuths(), "wide": torch.tensor([0, 45, 0, 135, 180, 0, 0, 315.0])}
    results = []
    for recipe, azimuths in turned.items():
        cutout = camera(azimuths, 96)
        pictures = cutout.colour + (1.0 - cutout.alpha) * 0.6
        pixels = (pictures.clamp(0, 1) * 255).round().byte().permute(2, 0, 3, 1).flatten(1, 2)
        results.append({"recipe": recipe, "prompt": prompt, "seed": 1})
        strip = tmp_path / result_name(results[-1], "strips", "-1.png")
        strip.parent.mkdir(parents=True)
        Image.fromarray(pixels.numpy()).save(strip)
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in results))
    true, wide = strip_rows(tmp_path, SETTINGS, CPU)
    assert (true["variant"], true["prompt"], true["seed"]) == ("true", prompt, 1)
    assert true["metrics"] == {"view": 1.0, "view_exact": 1.0, "frontal": 0.125}
    assert wide["metrics"] == {"view": 0.625, "view_exact": 0.625, "frontal": 0.5}
