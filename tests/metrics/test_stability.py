"""Spread over seeds and roughness of a loss curve, in closed form."""

import math

import pytest
import torch

from stabledreamer_core.metrics.stability import loss_roughness, roughness, spread_over_seeds


def record(prompt, value):
    return {"prompt": prompt, "metrics": {"chamfer": value}, "stages": {}}


def test_spread_is_within_prompts_not_between_them():
    records = [record("a", 0.1), record("a", 0.3), record("b", 5.0), record("b", 5.0)]
    found = spread_over_seeds(records, "chamfer")
    assert found["prompts"] == 2
    assert found["mean"] == pytest.approx(2.6)
    assert found["spread"] == pytest.approx(math.sqrt((0.02 + 0.0) / 2))
    assert found["worst"] == pytest.approx(0.2)


def test_single_seeds_and_missing_figures_do_not_count():
    records = [record("a", 0.1), record("b", None), record("b", 0.2)]
    nothing = {"prompts": 0, "mean": None, "spread": None, "worst": None}
    assert spread_over_seeds(records, "chamfer") == nothing
    assert spread_over_seeds(records, "no such metric") == nothing


def test_an_even_fall_is_smooth_and_its_unit_does_not_matter():
    losses = [0.97**step for step in range(100)]
    assert roughness(losses) == pytest.approx(0.0, abs=1e-9)
    wobbly = [loss * (1.2 if step % 2 else 1.0) for step, loss in enumerate(losses)]
    assert roughness([1000.0 * loss for loss in wobbly]) == pytest.approx(roughness(wobbly))


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_roughness_recovers_the_noise_that_was_put_in(noise):
    random = torch.randn(20000, generator=torch.Generator().manual_seed(0)).tolist()
    losses = [math.exp(-0.0001 * step + noise * value) for step, value in enumerate(random)]
    assert roughness(losses) == pytest.approx(noise, rel=0.05)


def test_a_few_spikes_do_not_make_a_curve_rough():
    losses = [1.0] * 100
    losses[20] = losses[70] = 50.0
    assert roughness(losses) == 0.0


def test_too_few_losses_have_no_roughness():
    stages = {"stage1": {"losses": [1.0, 0.9]}, "stage2": {"losses": [1.0, 0.9, 0.8]}}
    assert loss_roughness({"stages": stages}, "stage1") is None
    assert loss_roughness({"stages": stages}, "stage2") == pytest.approx(0.0, abs=0.01)
    assert loss_roughness({"stages": {}}, "stage1") is None
