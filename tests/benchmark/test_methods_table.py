"""The tables of noises and targets, on made-up figures and on the committed ones."""

import json
from statistics import fmean

import pytest

from benchmarks.claims.methods_table import FOLDER, METRICS, NAMES, methods_table, page


def test_the_best_comes_first_with_p_over_the_prompts_that_both_have() -> None:
    """Six prompts that all differ the same way: p is 2 / 2^6; the worst was made of five."""
    better = {"default": 0.02, "near": 0.01, "far": 0.03}
    rows = [
        {
            "variant": variant,
            "prompt": f"toy {n}",
            "seed": 0,
            "metrics": dict.fromkeys(METRICS, 0.5) | {"chamfer": value + 0.001 * n},
        }
        for variant, value in better.items()
        for n in range(6)
    ]
    lines = methods_table(rows[:-1]).splitlines()[2:]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| near", "6", "0.0125 (0.0312)"],
        ["| default", "6", "0.0225"],
        ["| far", "5", "0.0320 (0.0625)"],
    ]
    assert "| 0.500 (1.0000) |" in lines[0]


def test_the_page_shows_the_committed_rows() -> None:
    """`python -m benchmarks.claims.methods_table` writes it anew."""
    assert (FOLDER / "methods.md").read_text() == page()


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_is_on_the_page(name: str) -> None:
    text = (FOLDER / "methods.md").read_text()
    rows = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
    for variant in {row["variant"] for row in rows}:
        chamfers = [row["metrics"]["chamfer"] for row in rows if row["variant"] == variant]
        assert f"| {variant} | {len(chamfers)} | {fmean(chamfers):.4f}" in text
