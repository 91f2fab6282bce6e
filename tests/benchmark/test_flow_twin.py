"""The flow twin's comparison: both priors, the same prompts and seeds, nothing made twice."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.claims import flow_twin
from tests.tiny_families import build_prx_pixel

TINY = [
    *("gaussians.count=64", "gaussians.opacity=0.9", "evaluate.resolution=32"),
    *("evaluate.front_views=8", "evaluate.surface_samples=100", "stage2.density.start_count=0"),
    *("stage1.iterations=2", "stage1.views=1", "stage1.resolution=16"),
    *("stage2.iterations=1", "stage2.views=1", "stage2.resolution=32"),
    *("mesh.views=8", "mesh.view_resolution=32", "mesh.resolution=16", "mesh.smoothing=1"),
]


pytestmark = pytest.mark.filterwarnings("ignore:the prompt has")  # of these tiny tokenizers


@pytest.fixture
def run(tiny_if: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    build_prx_pixel().save_pretrained(tmp_path / "flow")
    monkeypatch.setattr(
        flow_twin, "PRIORS", {"pixel": str(tiny_if), "flow": str(tmp_path / "flow")}
    )
    options = [f"--set={setting}" for setting in [*TINY, f"stage2.prior={tiny_sd}"]]

    def run(*more: str) -> list[dict[str, Any]]:
        arguments = ["flow_twin", "--out", str(tmp_path / "out"), "--count", "2", *options, *more]
        monkeypatch.setattr(sys, "argv", arguments)
        flow_twin.main()
        lines = (tmp_path / "out/results.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return run


def test_assets_are_paired_and_made_once(run: Any, tmp_path: Path) -> None:
    made = run("--batch", "4")
    keys = [(row["variant"], row["prompt"], row["seed"]) for row in made]
    assert len(set(keys)) == len(keys) == 4 * 2 * 3  # with and without stage 2, of either prior
    pairs = {variant: {key[1:] for key in keys if key[0] == variant} for variant, *_ in keys}
    assert all(pair == pairs["pixel"] for pair in pairs.values())
    assert all(row["metrics"]["colour_error"] is not None for row in made)
    of = {key: row["metrics"]["colour_error"] for key, row in zip(keys, made, strict=True)}
    prompt = made[0]["prompt"]
    assert of["flow-stage1", prompt, 0] != of["pixel-stage1", prompt, 0]

    # An asset without its row is made again, and nothing else.
    lost = [row for row in made if (row["variant"], row["prompt"], row["seed"]) != keys[-1]]
    (tmp_path / "out/results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lost))
    again = run("--batch", "4")[len(lost) :]
    assert {(row["prompt"], row["seed"]) for row in again} == {keys[-1][1:]}
    assert {row["variant"] for row in again} == {keys[-1][0], keys[-1][0] + "-stage1"}

    with open(tmp_path / "out/flow_twin.csv") as file:
        assert len(list(csv.DictReader(file))) == len(keys)


def test_meshes_are_measured_wherever_the_gaussians_are(run: Any) -> None:
    made = len(run("--count", "1"))
    measured = run("--meshes", "--workers", "1")[made:]
    assert [row["variant"] for row in measured] == ["pixel"] * 3 + ["flow"] * 3
    assert all("chamfer" in row["metrics"] and row["meshed"] for row in measured)


def test_the_comparison_is_of_the_flow_against_the_pixel_prior(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(variant: str, error: float) -> list[dict[str, Any]]:
        figures = {"colour_error": error}
        return [
            {"variant": variant, "prompt": f"toy {n}", "seed": seed, "metrics": figures}
            for n in range(6)
            for seed in range(3)
        ]

    flow_twin.publish(rows("flow", 0.02) + rows("pixel", 0.05), tmp_path)
    text = (tmp_path / "flow_twin.md").read_text()
    assert text in capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("| colour_error")]
    assert "| 0.020 | 0.050 | -0.030" in line and "0.0312 | 6 |" in line  # p: 2 / 2^6
