"""The rehearsal's code runs with tiny pipelines of the real classes."""

import csv
import sys

import pytest
import torch
import yaml

from benchmarks.speed import architectures, rehearsal
from benchmarks.speed.random_pipeline import PROMPT_TOKENS, RandomTokenizer
from tests import tiny_families
from tests.conftest import build_if, build_sd
from tests.tiny_families import (
    build_klein,
    build_pixart,
    build_prx,
    build_prx_pixel,
    build_sana,
    build_sd3,
    build_sdxl,
)

BUILDERS = {
    "if": build_if, "sd": build_sd, "sd3": build_sd3, "sdxl": build_sdxl, "klein": build_klein,
    "pixart": build_pixart, "sana": build_sana, "prx": build_prx, "prx-pixel": build_prx_pixel,
}  # fmt: skip


def described(name):
    """A tiny pipeline as architectures.yaml describes one."""
    pipeline = BUILDERS[name]()
    components, parts, tokens = {}, {}, {}
    for part, module in pipeline.components.items():
        if part.startswith("tokenizer"):
            tokens[part] = 16
        elif isinstance(module, torch.nn.Module):
            config = module.config
            settings = config.to_dict() if hasattr(config, "to_dict") else dict(config)
            components[f"{name}-{part}"] = {"class": type(module).__name__, "settings": settings}
            parts[part] = f"{name}-{part}"
    index = {"_class_name": type(pipeline).__name__}
    if size := getattr(pipeline, "default_sample_size", None):
        index["default_sample_size"] = size
    if name == "klein":
        index["default_sample_size"] = 32
    scheduler = {"_class_name": type(pipeline.scheduler).__name__, **pipeline.scheduler.config}
    return components, {
        "model": f"tiny/{name}", "index": index, "scheduler": name, "components": parts,
        "tokens": tokens, "dtype": "float32",
    }, scheduler  # fmt: skip


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Let architectures.yaml be one of tiny pipelines."""

    def use(*names):
        content = {"components": {}, "pipelines": {}, "schedulers": {}}
        for name in names:
            components, content["pipelines"][name], scheduler = described(name)
            content["components"] |= components
            content["schedulers"][name] = scheduler
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump(_plain(content)))
        monkeypatch.setattr(architectures, "DATA", file)
        architectures.read.cache_clear()

    yield use
    architectures.read.cache_clear()


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Let the paper's settings be small ones."""
    file = tmp_path / "small.yaml"
    stage = {"views": 2, "view_words": "four", "target_reuse": 1}
    dense = {"density": {"start_count": 80}}
    ball = {"count": 60, "scale": 0.3, "opacity": 0.9}
    file.write_text(yaml.safe_dump({
        "gaussians": ball, "stage1": stage, "stage2": stage | dense,
        "mesh": {"views": 12, "view_resolution": 32, "resolution": 24},
    }))  # fmt: skip
    monkeypatch.setattr(rehearsal, "PAPER", file)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_family_is_rehearsed(name, tiny, small, tmp_path):
    tiny(name)
    row = rehearsal.rehearse(name, torch.device("cpu"), tmp_path, steps=2, seconds=0.2)
    assert row["steps"] == 2 and row["loop_ms"] > 0.0 and row["rollbacks"] == 0
    assert row["networks_ms"] == pytest.approx(row["denoiser_ms"] + row["vae_ms"], abs=0.01)
    assert (row["vae_ms"] > 0.0) == (name not in ("if", "prx-pixel"))
    assert row["ratio"] == pytest.approx(row["loop_ms"] / row["networks_ms"], rel=1e-2)
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
    assert {line.count("|") for line in (head, first, second)} == {10}
    assert row["loop_ms"] in first and "out of memory" in second


def test_several_run_apart_and_their_faults_become_rows(tiny, tmp_path, monkeypatch, capsys):
    tiny("sd", "if")  # which the processes of their own do not know
    monkeypatch.setattr(sys, "argv", [
        "rehearsal", "sd", "if", "--device", "cpu", "--out", str(tmp_path), "--total", "60",
    ])  # fmt: skip
    rehearsal.main()
    with open(tmp_path / "rehearsal.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["pipeline"] for row in rows] == ["sd", "if"]
    assert all("invalid choice" in row["error"] for row in rows)


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
    assert tiny_families.build_sd3 is BUILDERS["sd3"]
