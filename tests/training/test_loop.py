"""The loop: schedule, averages, slices that resume with the same bits."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stabledreamer_core.errors import UserError
from toybox.training.loop import LOG_FILE, Losses, Slice, Task, learning_rate, train
from toybox.training.settings import Optim, Training
from toybox.training.state import Counters

CPU = torch.device("cpu")


def optim_of(tiny: Training, **changes: object) -> Optim:
    return tiny.judge.optim.model_copy(update={"steps": 8, "log_every": 2, **changes})


def regression(found: list[dict[str, Tensor]], fingerprint: str = "same") -> Task:
    """A small network that learns a line; `found` collects what is exported."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))

    def loss(step: int, generator: torch.Generator) -> Losses:
        x = torch.randn(16, 3, generator=generator)
        return {"loss": (model(x) - x.sum(1, keepdim=True)).square().mean()}

    def export(average: nn.Module, counters: Counters) -> None:
        found.append({name: value.clone() for name, value in average.state_dict().items()})

    return Task(model, loss, export, fingerprint, seed=5)


def test_a_training_in_two_slices_has_the_bits_of_one(tiny: Training, tmp_path: Path) -> None:
    whole: list[dict[str, Tensor]] = []
    parts: list[dict[str, Tensor]] = []
    train(regression(whole), optim_of(tiny), Slice(tmp_path / "whole"), CPU)
    # The slice's end is forced after 4 steps: a deadline in the past ends it at the next line.
    first = optim_of(tiny, log_every=4)
    stopped = train(regression(parts), first, Slice(tmp_path / "parts", deadline=0.0), CPU)
    assert stopped.step < 8
    assert train(regression(parts), optim_of(tiny), Slice(tmp_path / "parts"), CPU).step == 8
    for name, value in whole[-1].items():
        assert torch.equal(value, parts[-1][name]), name


def test_a_state_of_other_settings_is_refused(tiny: Training, tmp_path: Path) -> None:
    train(regression([]), optim_of(tiny), Slice(tmp_path), CPU)
    with pytest.raises(UserError, match="other settings"):
        train(regression([], "other"), optim_of(tiny), Slice(tmp_path), CPU)


def test_a_damaged_state_is_refused_in_one_line(tiny: Training, tmp_path: Path) -> None:
    train(regression([]), optim_of(tiny), Slice(tmp_path), CPU)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        train(regression([]), optim_of(tiny), Slice(tmp_path), CPU)


def test_a_loss_that_is_not_finite_stops_the_training(tiny: Training, tmp_path: Path) -> None:
    task = regression([])
    for parameter in task.model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="not finite"):
        train(task, optim_of(tiny), Slice(tmp_path), CPU)
    assert not (tmp_path / "state.safetensors").exists()


def test_the_rate_warms_up_stays_and_falls(tiny: Training) -> None:
    optim = optim_of(tiny, lr=1.0, warmup_steps=10, cooldown=0.5, final_lr=0.1)
    rates = [learning_rate(step, 100, optim) for step in range(101)]
    assert rates[4] == pytest.approx(0.5)
    assert rates[10:50] == [1.0] * 40
    assert rates[75] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)


def test_the_log_says_how_it_went(tiny: Training, tmp_path: Path) -> None:
    train(regression([]), optim_of(tiny, steps=60, lr=0.05), Slice(tmp_path), CPU)
    lines = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert lines[-1]["step"] == 60
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]


def test_a_schedule_in_minutes_is_stretched_to_the_measured_rate(
    tiny: Training, tmp_path: Path
) -> None:
    slice_ = Slice(tmp_path, deadline=0.0, later_s=0.0)
    optim = optim_of(tiny, steps=1000, log_every=1)
    assert train(regression([]), optim, slice_, CPU).step < 5
