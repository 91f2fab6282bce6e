"""The noise level over time, against closed forms and the statistics of its samples."""

import itertools
import math

import pytest
import torch

from stabledreamer_core.distillation.annealing import (
    anneal,
    learning_rate,
    sample_timesteps,
    timestep_range,
)


@pytest.mark.parametrize("schedule", ["linear", "sqrt", "cosine", "step"])
def test_ends_and_monotony(schedule: str) -> None:
    values = [anneal(schedule, step / 100, 0.98, 0.2) for step in range(101)]
    assert values[0] == pytest.approx(0.98)
    assert values[-1] == pytest.approx(0.2)
    assert all(later <= earlier for earlier, later in itertools.pairwise(values))


def test_forms_at_a_quarter() -> None:
    assert anneal("none", 0.25, 0.9, 0.1) == 0.9
    assert anneal("linear", 0.25, 0.9, 0.1) == pytest.approx(0.7)
    assert anneal("sqrt", 0.25, 0.9, 0.1) == pytest.approx(0.5)
    assert anneal("cosine", 0.25, 0.9, 0.1) == pytest.approx(
        0.9 - 0.8 * (1 - math.cos(math.pi / 4)) / 2
    )
    assert anneal("step", 0.49, 0.9, 0.1) == 0.9
    assert anneal("step", 0.5, 0.9, 0.1) == pytest.approx(0.1)


def test_lower_end_never_passes_the_upper() -> None:
    low, high = timestep_range("linear", 1.0, (0.02, 0.5), (0.98, 0.2))
    assert low == high == pytest.approx(0.2)


def test_timesteps_are_stratified_and_within() -> None:
    random = torch.Generator().manual_seed(0)
    draws = torch.stack([sample_timesteps(0.2, 0.6, 4, 1000, random) for _ in range(500)])
    assert draws.min() >= 200 and draws.max() < 600
    # Each draw has one timestep in each quarter of the range, in no fixed order.
    assert torch.equal(((draws - 200) // 100).sort(1).values, torch.arange(4).expand(500, 4))
    assert ((draws[:, 0] - 200) // 100).unique().tolist() == [0, 1, 2, 3]
    assert draws.float().mean().item() == pytest.approx(400, abs=8)


def test_timesteps_at_the_very_top_stay_in_the_schedule() -> None:
    random = torch.Generator().manual_seed(0)
    assert sample_timesteps(1.0, 1.0, 3, 1000, random).tolist() == [999] * 3


def test_learning_rate_is_log_linear() -> None:
    assert learning_rate(0.5, 1e-2, 1e-4) == pytest.approx(1e-3)
    assert learning_rate(0.0, 3e-3, 1e-4) == 3e-3
