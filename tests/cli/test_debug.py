"""stabledreamer debug: mistakes, and assets that are not finished."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from stabledreamer.cli.main import main
from stabledreamer_core.debugger.files import DebugRecord, Seen, write_record
from stabledreamer_core.optimization.checkpoint import save_checkpoint
from stabledreamer_core.scene.gaussians import init_ball
from tasks.keys import STAGE1

SMALL = ["--set", "stage1.resolution=16", "--set", "debug.views=2", "--set", "device=cpu"]


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """An asset's folder as it is while stage 1 runs."""
    out = tmp_path / "asset"
    out.mkdir()
    (out / ".prompt.json").write_text(json.dumps({"prompt": "a red bear", "seed": 0}))
    return out


def ball() -> dict[str, torch.Tensor]:
    return init_ball(40, 0.5, 0.1, 0.3, torch.Generator().manual_seed(0))


def record_of_a_step(out: Path, step: int) -> None:
    seen = Seen(0.0, 0.0, "front view", 500, 0.5, 0.1)
    shown = {"render": torch.zeros(1, 3, 8, 8), "difference": torch.zeros(1, 3, 8, 8)}
    made = DebugRecord("k", 1, step, 10, tuple(shown), (seen,))
    write_record(out / f"debug/stage1/step-{step:06d}", made, shown)


def mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["debug", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_folder_that_is_no_assets_is_told(tmp_path, capsys):
    assert "not a folder" in mistake([str(tmp_path / "nowhere")], capsys)
    assert "no finished asset" in mistake([str(tmp_path)], capsys)


@pytest.mark.parametrize("level", ["0", "1", "-0.5", "nan"])
def test_noise_levels_out_of_range_are_told(unfinished, capsys, level):
    assert "--noise" in mistake([str(unfinished), "--noise", level], capsys)


def test_nothing_to_draw_yet_is_told(unfinished, capsys):
    error = mistake([str(unfinished)], capsys)
    assert "no records of stage 1, nor a checkpoint" in error and "debug.every" in error


def test_a_video_of_a_run_that_was_not_recorded_is_told(unfinished, capsys):
    save_checkpoint(unfinished / STAGE1, ball(), {})
    assert "debug.every" in mistake([str(unfinished), "--video"], capsys)


def test_a_checkpoint_that_is_missing_or_none_is_told(unfinished, capsys, tiny_if):
    missing = str(unfinished / "none.safetensors")
    assert "is not a file" in mistake([str(unfinished), "--checkpoint", missing], capsys)
    (unfinished / "text.safetensors").write_text("text")
    arguments = [str(unfinished), "--checkpoint", str(unfinished / "text.safetensors")]
    assert "cannot be read" in mistake(arguments, capsys)


def test_a_run_is_drawn_before_it_has_a_checkpoint(unfinished, capsys):
    for step in (0, 5):
        record_of_a_step(unfinished, step)
    assert main(["debug", str(unfinished), "--video"]) == 0
    told = capsys.readouterr()
    sheet, video = (Path(line) for line in told.out.splitlines())
    assert sheet.name == "stage1.png" and video.name == "stage1.mp4" and video.stat().st_size
    assert "no checkpoint" in told.err


@pytest.mark.parametrize("given", [False, True])
def test_the_newest_state_of_a_running_stage_is_looked_at(unfinished, capsys, tiny_if, given):
    prior = ["--set", f"stage1.prior={tiny_if}", "--set", "debug.many_steps=0"]
    work = unfinished / "stage1/work/abc"
    for step in (3, 8):
        save_checkpoint(work / f"state-{step:08d}.safetensors", ball(), {"step": f"{step}"})
    picture = unfinished / "debug-stage1.png"
    chosen = ["--checkpoint", str(work / "state-00000003.safetensors")] if given else []
    assert main(["debug", str(unfinished), *SMALL, *prior, *chosen, "--noise", "0.5"]) == 0
    assert capsys.readouterr().out == f"{picture}\n"
    with Image.open(picture) as drawn:
        assert drawn.size == (150 + 4 * 128, 24 + 2 * 128)
    assert not (unfinished / "report.html").exists() and not (unfinished / "debug").exists()
