"""The pieces of the loss, each against its formula written out another way."""

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from stabledreamer_core.distillation.loss import (
    WEIGHTINGS,
    add_noise,
    guidance_scales,
    guided_eps,
    l2_loss,
    l2_weight,
    limit_x0,
    one_step_denoised,
)
from stabledreamer_core.priors.schedule import ddpm_schedule

ABAR = torch.tensor([0.999, 0.5, 0.01], dtype=torch.float64)
SCHEDULE, ALL = ddpm_schedule(ABAR, torch.float64), torch.arange(3)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_denoising_with_the_true_noise_gives_the_image_back() -> None:
    x, noise = random(3, 3, 8, 8), random(3, 3, 8, 8, seed=1)
    back = one_step_denoised(add_noise(x, noise, *SCHEDULE.at(ALL)), noise, *SCHEDULE.at(ALL))
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)


def test_noised_images_keep_unit_variance() -> None:
    x_t = add_noise(random(3, 4096), random(3, 4096, seed=1), *SCHEDULE.at(ALL))
    torch.testing.assert_close(x_t.var(1), torch.ones(3).double(), rtol=0.08, atol=0.0)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_gradient_of_the_loss_is_the_sds_gradient(weighting: str) -> None:
    x = random(3, 3, 8, 8).requires_grad_()
    noise, eps_hat = random(3, 3, 8, 8, seed=1), random(3, 3, 8, 8, seed=2)
    x_t = add_noise(x, noise, *SCHEDULE.at(ALL))
    x0_hat = one_step_denoised(x_t, eps_hat, *SCHEDULE.at(ALL))
    l2_loss(x, x0_hat, l2_weight(weighting, SCHEDULE, ALL)).sum().backward()

    w = {
        "sds": 1 - ABAR,
        "uniform": torch.ones(3),
        "x0": (1 - ABAR).sqrt() / ABAR.sqrt(),
    }[weighting]
    expected = w.reshape(-1, 1, 1, 1) * (eps_hat - noise)
    assert x.grad is not None
    assert (x.grad - expected).norm() / expected.norm() < 1e-10


def test_guidance_mixes_the_two_predictions() -> None:
    cond, uncond = torch.ones(2, 5, 4), torch.zeros(2, 5, 4)
    calls = []

    def predict(x_t: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        calls.append(len(x_t))
        return x_t + embeddings.mean((1, 2)).reshape(-1, 1, 1, 1)

    x_t, timesteps = random(2, 3, 4, 4), torch.tensor([1, 2])
    torch.testing.assert_close(guided_eps(predict, x_t, timesteps, cond, uncond, 7.0), x_t + 7.0)
    torch.testing.assert_close(guided_eps(predict, x_t, timesteps, cond, uncond, 1.0), x_t + 1.0)
    assert calls == [4, 2]  # a scale of 1 needs no unconditional call


def test_outside_the_interval_no_unconditional_call_is_made() -> None:
    scales = guidance_scales(torch.tensor([0, 199, 200, 500, 800, 900]) / 1000.0, 7.0, (0.2, 0.8))
    torch.testing.assert_close(scales.float(), torch.tensor([1.0, 1.0, 7.0, 7.0, 7.0, 1.0]))
    cond, uncond = torch.ones(6, 5, 4), torch.zeros(1, 5, 4)
    calls = []

    def predict(x_t: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        calls.append((timesteps.tolist(), embeddings[:, 0, 0].tolist()))
        return x_t + embeddings.mean((1, 2)).reshape(-1, 1, 1, 1)

    x_t, timesteps = random(6, 3, 4, 4), torch.arange(6)
    guided = guided_eps(predict, x_t, timesteps, cond, uncond, scales)
    torch.testing.assert_close(guided, x_t + scales.reshape(-1, 1, 1, 1))
    assert calls == [([2, 3, 4, 0, 1, 2, 3, 4, 5], [0.0] * 3 + [1.0] * 6)]


def test_full_rescaling_restores_the_conditional_deviation() -> None:
    cond, uncond = torch.ones(2, 5, 4), torch.zeros(2, 5, 4)

    def predict(x_t: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        return x_t * (1 + embeddings.mean((1, 2)).reshape(-1, 1, 1, 1))

    x_t = random(2, 3, 4, 4)
    rescaled = guided_eps(predict, x_t, torch.tensor([1, 2]), cond, uncond, 9.0, 1.0)
    torch.testing.assert_close(rescaled.std((1, 2, 3)), (2 * x_t).std((1, 2, 3)))


def test_limits_of_the_denoised_image() -> None:
    x0 = torch.linspace(-3, 3, 61).reshape(1, 1, 1, 61)
    assert limit_x0(x0, "none") is x0
    torch.testing.assert_close(limit_x0(x0, "clamp"), x0.clamp(-1, 1))
    dynamic = limit_x0(x0, "dynamic", quantile=0.5)
    torch.testing.assert_close(dynamic, (x0 / 1.5).clamp(-1, 1))
    small = 0.5 * x0 / 3
    torch.testing.assert_close(limit_x0(small, "dynamic"), small)


def test_dynamic_thresholding_is_deepfloyds() -> None:
    scheduler = DDPMScheduler(
        thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=1.5
    )  # as DeepFloyd/IF-I-XL-v1.0 configures it
    x0_hat = random(4, 3, 8, 8) * torch.tensor([0.3, 0.6, 1.0, 4.0]).reshape(-1, 1, 1, 1)
    truth = scheduler._threshold_sample(x0_hat)
    torch.testing.assert_close(limit_x0(x0_hat, "dynamic"), truth.double(), rtol=1e-6, atol=1e-6)
    assert (limit_x0(x0_hat, "dynamic")[3].abs() == 1.0).float().mean() > 0.6  # cut at 1.5
