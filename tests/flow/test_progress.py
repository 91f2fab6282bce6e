"""What a run says while it goes on: words, within 80 columns."""

import contextlib
import fcntl
import io
import os
import struct
import sys
import termios

import pytest

from stabledreamer.runtime import live, progress
from stabledreamer.runtime.settings import load_config, presets
from stabledreamer_core.optimization.observe import Progress
from stabledreamer_core.settings.stage import STAGES
from tasks.keys import STEPS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("preset", [None, *presets()])
def test_a_stage_begins_with_a_line_that_says_what_it_does(preset):
    config = load_config(preset=preset)
    for name in STAGES:
        stage = config.stage(name)
        line = progress.headline(name, stage)
        assert len(line) <= 80 and line.startswith(f"stage {name[-1]}: {progress.WORDS[name]} from")
        first, last = (f"{end:.2f}" for end in stage.annealing.t_max)
        assert line.endswith(f"noise {first} -> {last}")


def test_the_noise_level_falls_as_the_stage_draws_it():
    stage = load_config().stage1
    assert progress.highest_noise(stage, 0.0) == 0.98
    assert progress.highest_noise(stage, 0.5) == pytest.approx((0.98 + 0.25) / 2)
    constant = stage.annealing.model_copy(update={"schedule": "none"})
    stage = stage.model_copy(update={"annealing": constant})
    assert progress.headline("stage1", stage).endswith("noise 0.98 -> 0.98")


def test_every_step_has_words():
    assert set(progress.WORDS) == set(STEPS)
    assert max(map(len, progress.WORDS.values())) < 80 - len("  checkpoint1  1000.0 s  ")


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_step_is_named_while_it_runs_in_a_terminal_alone(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    with progress.step_shown("mesh", show=True):
        during = sys.stderr.getvalue()
    assert during == (
        "  mesh         a closed, coloured surface ...\r" if stream is Terminal else ""
    )
    with progress.step_shown("stage1", show=True), progress.step_shown("mesh", show=False):
        pass
    assert sys.stderr.getvalue() == (f"{during}\x1b[K" if stream is Terminal else "")


def test_the_page_hears_of_each_step(monkeypatch, tmp_path):
    with live.live_page("a red bear", 0, tmp_path, None), progress.step_shown("mesh", show=False):
        assert live._live.state["words"] == "mesh: a closed, coloured surface"


def test_a_bar_has_loss_and_noise_and_tells_where_a_stage_goes_on(monkeypatch):
    """In a terminal of 80 columns."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        stage = load_config().stage1
        with progress._bar("stage 1", stage, show=True) as update:
            update(Progress(step=460, iterations=900, loss=0.01234, seconds=1.0, first=450))
            update(Progress(step=900, iterations=900, loss=0.01, seconds=100.0, first=450))
    lines = _all_of(ours).replace("\r", "\n").split("\n")
    assert "stage 1 goes on at step 450" in lines
    (last,) = [line for line in lines if "900/900" in line]
    assert "loss 0.0100, noise 0.25" in last and max(map(len, lines)) <= 80


def _all_of(terminal: int) -> str:
    """What was written to a terminal whose other end is closed; a read may give a part."""
    content = b""
    with contextlib.suppress(OSError):  # Linux' end of file
        while part := os.read(terminal, 10_000):
            content += part
    os.close(terminal)
    return content.decode()
