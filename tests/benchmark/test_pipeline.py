"""The DVC pipelines and their params files fit each other."""

import subprocess
import sys

import pytest
import yaml

from stabledreamer.runtime.root import ROOT

SMALL = yaml.safe_load((ROOT / "benchmarks/benchmark.yaml").read_text())
GPU = yaml.safe_load((ROOT / "benchmarks/benchmark-gpu.yaml").read_text())
GPU_STAGES = yaml.safe_load((ROOT / "benchmarks/gpu/dvc.yaml").read_text())["stages"]


def stages(pipeline: str) -> list[str]:
    """Their names, as DVC itself resolves them."""
    command = [sys.executable, "-m", "dvc", "stage", "list", "--name-only", pipeline]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name.rpartition(":")[2] for name in told.stdout.split()]


def test_small_pipeline():
    assets = [f"{p}-{r}" for p in SMALL["matrix"]["prompts"] for r in SMALL["matrix"]["recipes"]]
    steps = [f"{step}@{asset}" for step in ("stage1", "stage2", "evaluate") for asset in assets]
    found = stages("dvc.yaml")
    assert set(found) == {*steps, "summary"}
    assert len(found) <= 65  # nearly a second each, whatever they do


def test_gpu_pipeline():
    found = stages("benchmarks/gpu/dvc.yaml")
    variants = {f"variant@{name}" for name in GPU["ablations"]}
    variants |= {f"peer@{name}" for name in GPU["peers"]}
    assert set(found) == {*variants, "nerf", "summary"}


def test_the_matrix_names_what_there_is():
    assert set(SMALL["matrix"]["prompts"]) == set(SMALL["prompts"])
    assert set(SMALL["matrix"]["recipes"]) == set(SMALL["recipes"])
    assert GPU["recipes"] == GPU["ablations"] | GPU["peers"]


@pytest.mark.parametrize("settings", [SMALL, GPU], ids=["small", "gpu"])
def test_claims_name_variants(settings):
    variants = {*settings["recipes"], "nerf"} | {f"{name}-stage1" for name in settings["recipes"]}
    for claim in settings["claims"]:
        assert {claim["ours"], claim["other"]} <= variants, claim
    compared = {claim[side] for claim in settings["claims"] for side in ("ours", "other")}
    assert set(settings["recipes"]) <= compared


def test_the_nerf_has_the_same_prompts_and_seeds():
    suite = yaml.safe_load((ROOT / "prompts/toybox.yaml").read_text())["prompts"]
    assert GPU["prompts"] == suite[: len(GPU["prompts"])]
    assert list(SMALL["prompts"].values()) == GPU["prompts"][::3]
    seeds = " ".join(map(str, GPU["seeds"]))
    assert f"--count {len(GPU['prompts'])} --seeds {seeds} " in GPU_STAGES["nerf"]["cmd"]
