"""The rehearsal's code runs with tiny pipelines of the real classes."""

import csv
import sys
from argparse import Namespace

import pytest
import torch

from benchmarks.speed import rehearsal
from benchmarks.speed.random_pipeline import PROMPT_TOKENS, RandomTokenizer
from tests.benchmark.conftest import BUILDERS

QUICK = ("if", "sd", "sd3")  # of each kind of loop; the others take half a minute together
EACH = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in BUILDERS]


@pytest.mark.parametrize("name", EACH)
def test_every_family_is_rehearsed(name, tiny, small, tmp_path):
    tiny(name)
    row = rehearsal.rehearse(name, torch.device("cpu"), tmp_path, steps=2, seconds=0.2)
    assert row["steps"] == 2 and row["loop_ms"] > 0.0 and row["rollbacks"] == 0
    assert row["networks_ms"] == pytest.approx(row["denoiser_ms"] + row["vae_ms"], abs=0.01)
    assert (row["vae_ms"] > 0.0) == (name not in ("if", "prx-pixel"))
    ratio = row["loop_ms"] / row["networks_ms"]
    assert row["ratio"] == pytest.approx(ratio, rel=1e-2, abs=2e-3)
    assert row["gaussians"] == (60 if row["vae_ms"] == 0.0 else 80)


def test_whole_makes_a_mesh_and_a_row(tiny, small, tmp_path, monkeypatch, capsys):
    tiny("sd")
    monkeypatch.setattr(sys, "argv", [
        *("rehearsal", "sd", "--whole", "--device", "cpu"),
        *("--steps", "2", "--seconds", "0.2", "--out", str(tmp_path)),
    ])  # fmt: skip
    rehearsal.main()
    assert (tmp_path / "sd/asset.glb").stat().st_size > 1000
    monkeypatch.setattr(rehearsal, "ROWS", tmp_path / "rehearsal.csv")
    with open(rehearsal.ROWS, newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert row["pipeline"] == "sd" and row["error"] == "" and int(row["faces"]) > 0
    rehearsal.append({"pipeline": "other", "error": "out of memory"}, rehearsal.ROWS)
    head, _, first, second = rehearsal.table(rehearsal.ROWS).splitlines()
    assert {line.count("|") for line in (head, first, second)} == {11}
    assert row["loop_ms"] in first and "out of memory" in second

    asset = tmp_path / "sd/asset.glb"
    made = asset.read_bytes()
    asset.unlink()
    rehearsal.meshes(tmp_path)  # from the scene that was kept
    assert asset.read_bytes() == made


def test_what_runs_apart_leaves_its_fault_in_a_row(tmp_path, capsys):
    asked = Namespace(
        steps=2, seconds=0.2, device="cpu", acceleration="auto", out=tmp_path, whole=False,
        limit=60.0, total=60.0, card_gb=0.0,
    )  # fmt: skip
    rehearsal.rehearse_each(["unheard-of"], asked)
    asked.total = 5.0
    rehearsal.rehearse_each(["sd21"], asked)
    with open(tmp_path / "rehearsal.csv", newline="") as lines:
        first, second = csv.DictReader(lines)
    assert first["pipeline"] == "unheard-of" and "invalid choice" in first["error"]
    assert second["pipeline"] == "sd21" and second["error"] == "not done within 5 s"


def test_random_tokenizer_pads_as_a_tokenizer_does():
    tokenizer = RandomTokenizer(50, 20)
    padded = tokenizer(["a", "b"], padding="max_length", return_tensors="pt")
    assert padded.input_ids.shape == padded.attention_mask.shape == (2, 20)
    assert padded.attention_mask.sum() == 2 * PROMPT_TOKENS
    assert int(padded.input_ids.max()) < 50
    assert len(tokenizer("a").input_ids) == PROMPT_TOKENS


def test_tiny_builders_are_those_of_every_family():
    kinds = {type(build()).__name__ for build in BUILDERS.values()}
    assert kinds == set(rehearsal.FAMILIES)
