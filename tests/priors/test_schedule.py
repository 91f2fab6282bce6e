"""Schedules of each kind, against diffusers' schedulers and the processes they describe."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift

from stabledreamer_core.distillation.loss import add_noise, one_step_denoised
from stabledreamer_core.errors import UserError
from stabledreamer_core.priors.schedule import (
    Schedule,
    ddpm_schedule,
    flow_schedule,
    read_schedule,
    to_eps,
)

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler"}


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def schedule_of(kind: str) -> Schedule:
    if kind == "flow":
        return flow_schedule(torch.tensor([0.01, 0.3, 0.7, 1.0]), dtype=torch.float64)
    return ddpm_schedule(torch.tensor([0.9999, 0.7, 0.3, 0.001]), torch.float64)


@pytest.mark.parametrize(
    ("kind", "prediction_type"),
    [
        ("ddpm", "epsilon"), ("ddpm", "v_prediction"), ("ddpm", "sample"),
        ("flow", "epsilon"), ("flow", "flow"), ("flow", "sample"),
    ],
)  # fmt: skip
def test_a_perfect_prediction_gives_the_noise_and_the_image(
    kind: str, prediction_type: str
) -> None:
    schedule, every = schedule_of(kind), torch.arange(4)
    alpha, sigma = schedule.at(every)
    x0, noise = random(4, 3, 5, 5, seed=0), random(4, 3, 5, 5, seed=1)
    x_t = add_noise(x0, noise, alpha, sigma)
    a, b = alpha.reshape(-1, 1, 1, 1), sigma.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(x_t, a * x0 + b * noise)
    perfect = {
        "epsilon": noise,
        "v_prediction": a * noise - b * x0,
        "sample": x0,
        "flow": noise - x0,
    }[prediction_type]
    eps = to_eps(perfect, x_t, alpha, sigma, prediction_type)
    torch.testing.assert_close(eps, noise, rtol=1e-9, atol=1e-9)
    x0_hat = one_step_denoised(x_t, eps, alpha, sigma)
    torch.testing.assert_close(x0_hat, x0, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_shifted_flow_is_diffusers(shift: float) -> None:
    truth = FlowMatchEulerDiscreteScheduler(shift=shift)
    schedule, prediction_type = read_schedule(dict(truth.config) | FLOW, 0)
    assert prediction_type == "flow"
    torch.testing.assert_close(schedule.sigmas, truth.sigmas.flip(0), rtol=0.0, atol=2.0**-12)
    torch.testing.assert_close(schedule.timesteps, truth.timesteps.flip(0), rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(schedule.alphas + schedule.sigmas, torch.ones(1000))


@pytest.mark.parametrize(("kind", "tokens"), [("exponential", 64), ("linear", 3000)])
def test_dynamic_shifting_follows_the_number_of_tokens(kind: str, tokens: int) -> None:
    truth = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind)
    config = truth.config
    mu = calculate_shift(
        *(tokens, config.base_image_seq_len, config.max_image_seq_len),
        *(config.base_shift, config.max_shift),
    )
    truth.set_timesteps(sigmas=np.linspace(1.0, 0.001, 1000), mu=mu)
    schedule, _ = read_schedule(dict(config) | FLOW, tokens)
    torch.testing.assert_close(schedule.timesteps.flip(0), truth.timesteps, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("noise_scale", [1.0, 2.0])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_fraction_means_the_signal_to_noise_ratio_of_stable_diffusion(
    shift: float, noise_scale: float
) -> None:
    abar = DDPMScheduler(**SD).alphas_cumprod.double()
    truth = (abar / (1 - abar)).log()
    schedule, _ = read_schedule(FLOW | {"shift": shift}, 0, torch.float64, noise_scale)
    log_snr = 2 * (schedule.alphas / schedule.sigmas).log()
    for fraction in (0.02, 0.1, 0.25, 0.5, 0.75, 0.98):
        index, position = schedule.index(fraction), int(fraction * 1000)
        step = log_snr[index - 1] - log_snr[index + 1]
        assert abs(log_snr[index] - truth[position]) <= step
        apart = abs(float(schedule.fractions[index]) - position / 1000)
        assert apart <= float(step / (truth[position - 1] - truth[position + 1])) / 1000 + 1e-9
    assert schedule.indices.diff().min() >= 0 and schedule.fractions.diff().min() >= 0.0


def test_a_fraction_of_a_ddpm_is_a_fraction_of_its_length() -> None:
    schedule, _ = read_schedule(SD, 0)
    assert [schedule.index(fraction) for fraction in (0.0, 0.2, 0.5, 1.0)] == [0, 200, 500, 999]
    assert schedule.fractions[[0, 200, 999]].tolist() == [0.0, 0.2, 0.999]
    assert torch.equal(schedule.timesteps, torch.arange(1000))


@pytest.mark.parametrize(
    "odd",
    [
        {"num_train_timesteps": 1}, {"num_train_timesteps": "many"}, {"shift": -1.0},
        {"shift": 0.0}, {"shift": float("nan")},
        {"use_dynamic_shifting": True, "max_image_seq_len": 256},
        {"use_dynamic_shifting": True, "max_shift": 1e6},
    ],
)  # fmt: skip
def test_a_flow_that_is_none_is_refused(odd: dict) -> None:
    with pytest.raises(UserError, match="scheduler"):
        read_schedule(FLOW | odd, 4096)
