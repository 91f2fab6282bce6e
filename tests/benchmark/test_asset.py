"""The steps of the small benchmark: repeatable, resumable, apart from each other."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.claims import small_asset
from benchmarks.claims.small_asset import OUT, WORK, evaluate, stage

STAGE1, STAGE2 = "bear-tiny/stage1/gaussians.safetensors", "bear-tiny/stage2/gaussians.safetensors"


@pytest.fixture
def settings(tiny_if, tiny_sd, tmp_path, monkeypatch) -> dict:
    """A benchmark of one bear in seconds, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    few = {"views": 1, "target_reuse": 1, "density": {"every": 2, "start_count": 0}}
    tiny = {
        "gaussians": {"count": 150, "opacity": 0.9},
        "stage1": {**few, "prior": str(tiny_if), "iterations": 6, "resolution": 16},
        "stage2": {**few, "prior": str(tiny_sd), "iterations": 4, "resolution": 32},
        "checkpoint": {"every_seconds": 1.0e-6},
        "mesh": {"views": 8, "view_resolution": 32, "resolution": 16, "smoothing": 1},
        "turntable": {"preview_resolution": 32},
        "evaluate": {"resolution": 32, "front_views": 8, "surface_samples": 100},
    }
    return {
        "threads": 1,
        "seed": 0,
        "prompts": {"bear": "a red bear"},
        "recipes": {"tiny": tiny},
    }


def contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in OUT.rglob("*") if path.is_file()}


def test_twice_gives_the_same_bytes(settings):
    runs = []
    for _ in range(2):
        stage(settings, "stage1", "bear", "tiny")
        stage(settings, "stage2", "bear", "tiny")
        evaluate(settings, "bear", "tiny")
        runs.append(contents())
    assert runs[0] == runs[1]
    names = {path.relative_to(OUT).as_posix() for path in runs[0]}
    assert names == {
        *(STAGE1, STAGE2, "bear-tiny/gaussians.ply", "bear-tiny/mesh.glb"),
        *("bear-tiny/preview.png", "metrics/bear-tiny.json"),
        *("losses/bear-tiny-stage1.csv", "losses/bear-tiny-stage2.csv"),
    }
    measured = json.loads((OUT / "metrics/bear-tiny.json").read_text())
    assert measured["stage1"]["chamfer"] != measured["stage2"]["chamfer"]


def test_an_interrupted_stage_goes_on(settings, monkeypatch):
    stage(settings, "stage1", "bear", "tiny")
    undisturbed = contents()
    for path in undisturbed:
        path.unlink()

    keep = small_asset._keep_losses

    def keep_and_stop(work: Path):
        note = keep(work)

        def stop(progress):
            note(progress)
            if progress.step == 4:
                raise KeyboardInterrupt

        return stop

    with monkeypatch.context() as patch:
        patch.setattr(small_asset, "_keep_losses", keep_and_stop)
        with pytest.raises(KeyboardInterrupt):
            stage(settings, "stage1", "bear", "tiny")
    assert list(WORK.rglob("state-*.safetensors"))
    stage(settings, "stage1", "bear", "tiny")
    assert contents() == undisturbed


def test_a_stage_without_steps_leaves_the_grey_ball(settings):
    settings["recipes"]["tiny"]["stage1"]["iterations"] = 0
    stage(settings, "stage1", "bear", "tiny")
    stage(settings, "stage2", "bear", "tiny")
    evaluate(settings, "bear", "tiny")
    assert "stage1" not in json.loads((OUT / "metrics/bear-tiny.json").read_text())
    assert (OUT / "losses/bear-tiny-stage1.csv").read_text() == "progress,loss\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stage1", "elephant", "tiny"], "no prompt 'elephant'; it has bear"),
        (["stage1", "bear", "huge"], "no recipe 'huge'; it has tiny"),
        (["stage2", "bear", "tiny"], "stage1/gaussians.safetensors"),
    ],
)
def test_mistakes_are_told_in_one_line(settings, monkeypatch, arguments, told):
    Path("benchmarks/claims").mkdir(parents=True)
    Path("benchmarks/claims/small.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(sys, "argv", ["small_asset", *arguments])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    with pytest.raises(SystemExit) as left:
        small_asset.main()
    assert told in str(left.value.code) and "\n" not in str(left.value.code)
