"""From the files of measured assets to what is published."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.claims.import_results import bring
from benchmarks.claims.rows import gpu_rows, small_losses, small_rows
from benchmarks.claims.tables import summarise, write

SETTINGS = {"matrix": {"prompts": ["bear", "car"], "recipes": ["default", "latent"]}}
CLAIMS = [
    {"claim": "this against that", "ours": "default", "other": "latent"},
    {"claim": "this against nothing", "ours": "default", "other": "never run"},
]
CHAMFER = {"bear-default": (0.03, 0.02), "car-default": (0.05, 0.04)}
CHAMFER |= {"bear-latent": (None, 0.06), "car-latent": (None, 0.08), "mug-default": (9.0, 9.0)}


@pytest.fixture
def small(tmp_path) -> Path:
    """What the small benchmark leaves, and an asset of a prompt that is no longer asked for."""
    for name, (first, last) in CHAMFER.items():
        prompt, recipe = name.split("-")
        asset = {"prompt": f"a red {prompt}", "seed": 0, "recipe": recipe}
        if first is not None:
            asset["stage1"] = {"chamfer": first, "view": None}
        asset["stage2"] = {"chamfer": last, "view": 1.0}
        place(tmp_path / "metrics" / f"{name}.json", json.dumps(asset))
        for stage, loss in (("stage1", first), ("stage2", last)):
            lines = "" if loss is None else f"0.5000,{loss}\n1.0000,{loss / 2}\n"
            place(tmp_path / "losses" / f"{name}-{stage}.csv", "progress,loss\n" + lines)
    return tmp_path


def place(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_small(small, tmp_path_factory):
    rows, losses = small_rows(SETTINGS, small), small_losses(SETTINGS, small)
    assert {row["variant"] for row in rows} == {"default", "default-stage1", "latent"}
    assert [row["progress"] for row in losses["stage1"]] == pytest.approx(
        np.arange(0.04, 1.01, 0.04)
    )
    filled = {row["progress"]: row for row in losses["stage1"] if row["default"] is not None}
    assert {step: row["default"] for step, row in filled.items()} == pytest.approx(
        {0.52: 0.04, 1.0: 0.02}  # 0.5 lies in (0.48, 0.52]
    )
    assert all(row["latent"] is None for row in losses["stage1"])
    assert losses["stage2"][12] == pytest.approx(
        {"progress": 0.52, "default": 0.03, "latent": 0.07}
    )

    out = tmp_path_factory.mktemp("published")
    summary = summarise(rows, CLAIMS)
    write(out, summary, rows, losses)
    assert json.loads((out / "means/default.json").read_text()) == {"view": 1.0, "chamfer": 0.03}
    assert [claim["other"] for claim in summary["claims"]] == ["latent"]
    assert summary["claims"][0]["metrics"]["chamfer"]["difference"] == pytest.approx(-0.04)
    assert (
        "| chamfer (0) | 0.0300 | 0.0700 | -0.0400 (-0.0400 to -0.0400) | 0.5000 | 2 |"
        in (out / "tables.md").read_text()
    )
    assert len(list(csv.DictReader((out / "assets.csv").open()))) == len(rows) == 6
    bars = list(csv.DictReader((out / "plots/variants.csv").open()))
    assert [bar["variant"] for bar in bars] == ["default-stage1", "default", "latent"]


def test_what_is_published_does_not_depend_on_the_time(small, tmp_path_factory):
    files = []
    for _ in range(2):
        out = tmp_path_factory.mktemp("published")
        rows = small_rows(SETTINGS, small)
        write(out, summarise(rows, CLAIMS), rows, small_losses(SETTINGS, small))
        files.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()})
    assert files[0] == files[1] and len(files[0]) == 9


def test_gpu(tmp_path):
    settings = {"ablations": {"default": [], "missing": []}, "peers": {}}
    asset = {"recipe": "x", "prompt": "a red bear", "seed": 1, "seconds": 3.0, "metrics": {}}
    place(tmp_path / "measured/default.jsonl", json.dumps(asset) + "\n")
    place(tmp_path / "measured/nerf.jsonl", json.dumps(asset) + "\n")
    rows = gpu_rows(settings, tmp_path)
    assert [row["variant"] for row in rows] == ["default", "nerf"]
    assert rows[0]["seed"] == 1


def test_results_from_elsewhere(tmp_path):
    folder, out = tmp_path / "search", tmp_path / "out"
    jobs = [("other", "a car", 0), ("default", "a car", 1), ("default", "a bear", 0)]
    lines = [
        json.dumps({"recipe": recipe, "prompt": prompt, "seed": seed, "metrics": {"view": 1.0}})
        for recipe, prompt, seed in jobs
    ]
    place(folder / "results.jsonl", "\n".join(lines) + "\n")
    place(folder / "measured.jsonl", "\n".join(lines) + "\n")
    place(folder / "plys/default/car-s1-2.ply", "of the variant")
    place(folder / "plys/other/car-s0-2.ply", "of another")
    for _ in range(2):
        assert bring(folder, "default", out) == 2
    (ply,) = out.rglob("*.ply")
    assert ply == out / "default/plys/default/car-s1-2.ply"
    rows = gpu_rows({"ablations": {"default": []}, "peers": {"other": []}}, out)
    assert [(row["prompt"], row["seed"]) for row in rows] == [("a bear", 0), ("a car", 1)]
    assert bring(folder, "never run", out) == 0
    shutil.rmtree(folder / "plys")
    assert bring(folder, "other", out) == 1
    assert len(gpu_rows({"ablations": {}, "peers": {"other": []}}, out)) == 1
