"""How much of a toy looks like its front, on true pictures and on made-up figures."""

import pytest
import torch

from benchmarks.faces import frontal, table
from stabledreamer_core.config import load_config
from stabledreamer_core.metrics.pictures import true_camera
from toybox.catalogue import Toy

SETTINGS = load_config().evaluate
CPU = torch.device("cpu")


def test_an_eighth_of_a_true_toy_is_its_front_and_all_of_one_that_shows_it_everywhere() -> None:
    true = true_camera(Toy("fish", "purple", "cube", "pink"), SETTINGS.elevation_deg)
    assert frontal(true, SETTINGS, CPU) == pytest.approx(1 / 8)
    assert frontal(lambda angles, size: true(0 * angles, size), SETTINGS, CPU) == 1.0
    assert frontal(lambda angles, size: true(0 * angles + 180, size), SETTINGS, CPU) == 0.0


def test_the_table_has_every_variant_and_the_claims_that_were_measured() -> None:
    rows = [
        {"variant": name, "prompt": f"toy {n}", "seed": 0, "metrics": {"frontal": share}}
        for name, share in (("words", 0.125), ("plain", 0.5))
        for n in range(6)
    ]
    claims = [{"ours": "words", "other": "plain"}, {"ours": "words", "other": "absent"}]
    text = table(rows, claims)
    assert "| words | 0.125 ± 0.000 | 0.125 | 6 |" in text
    assert "| words - plain | -0.375 | 0.0312 |" in text  # 2 / 2^6
    assert "absent" not in text
