"""The loss's gradient is the SDS gradient: w(t) (eps_hat - eps), through real networks, float64.

The right-hand side is computed from the paper's formulas and the pipelines' own networks; the
left-hand side is autograd through `l2_loss`.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from stabledreamer_core.distillation.loss import (
    WEIGHTINGS,
    add_noise,
    guided_eps,
    l2_loss,
    l2_weight,
    one_step_denoised,
)
from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.priors.schedule import ddpm_schedule, flow_schedule, to_eps

GUIDANCE = 20.0
TIMESTEPS = torch.tensor([20, 250, 600, 950])


def relative(error: Tensor, truth: Tensor) -> float:
    return float(error.norm() / truth.norm())


def sds_weight(weighting: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    """w(t), written from the definitions (DreamFusion; constant; constant on the L2 form)."""
    w = {"sds": sigma**2, "uniform": sigma**0, "x0": sigma / alpha}[weighting]
    return w.reshape(-1, 1, 1, 1)


def sds_direction(prior: Prior, x: Tensor, noise: Tensor, cond: Tensor, uncond: Tensor) -> Tensor:
    """eps_hat - eps from the UNet itself, no code of ours between."""
    alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in prior.schedule.at(TIMESTEPS))
    x_t = alpha * x + sigma * noise
    unet, channels = prior._network("unet"), x.shape[1]
    with torch.no_grad():
        without = unet(x_t, TIMESTEPS, encoder_hidden_states=uncond).sample[:, :channels]
        with_text = unet(x_t, TIMESTEPS, encoder_hidden_states=cond).sample[:, :channels]
    if prior._prediction_type == "v_prediction":
        without = alpha * without + sigma * x_t
        with_text = alpha * with_text + sigma * x_t
    return without + GUIDANCE * (with_text - without) - noise


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("name", ["tiny_if", "tiny_sd", "tiny_sd_v"])
def test_gradient_of_the_loss_is_the_sds_gradient(name: str, weighting: str, request) -> None:
    folder: Path = request.getfixturevalue(name)
    prior = load_prior(str(folder), dtype="float64")
    random = torch.Generator().manual_seed(11)
    count, size = len(TIMESTEPS), prior.resolution
    render = torch.rand(count, 3, size, size, generator=random, dtype=torch.float64)
    noise = torch.randn(count, *prior.sample_shape, generator=random, dtype=torch.float64)
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    cond, uncond = cond.repeat(count, 1, 1), uncond.repeat(count, 1, 1)

    # The loss as the stage loop has it.
    render.requires_grad_()
    x = prior.encode(render)
    alpha, sigma = prior.schedule.at(TIMESTEPS)
    x_t = add_noise(x.detach(), noise, alpha, sigma)
    eps_hat = guided_eps(prior.predict_eps, x_t, TIMESTEPS, cond, uncond, GUIDANCE)
    x0_hat = one_step_denoised(x_t, eps_hat, alpha, sigma)
    loss = l2_loss(x, x0_hat, l2_weight(weighting, prior.schedule, TIMESTEPS)).sum()
    grad_x, grad_render = torch.autograd.grad(loss, [x, render], retain_graph=True)

    # The SDS gradient, and its pull-back through the encoder.
    direction = sds_direction(prior, x.detach(), noise, cond, uncond)
    expected = sds_weight(weighting, alpha, sigma) * direction
    (expected_render,) = torch.autograd.grad(x, render, grad_outputs=expected)
    assert relative(grad_x - expected, expected) < 1e-6
    assert relative(grad_render - expected_render, expected_render) < 1e-6
    for i in range(count):  # each noise level by itself: none hides behind a larger one
        assert relative(grad_x[i] - expected[i], expected[i]) < 1e-6


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize(
    ("kind", "prediction_type"),
    [
        ("ddpm", "epsilon"), ("ddpm", "v_prediction"), ("ddpm", "sample"),
        ("flow", "epsilon"), ("flow", "flow"), ("flow", "sample"),
    ],
)  # fmt: skip
def test_the_identity_holds_for_every_schedule_and_prediction(
    kind: str, prediction_type: str, weighting: str
) -> None:
    levels = torch.tensor([0.02, 0.3, 0.7, 0.97], dtype=torch.float64)
    if kind == "ddpm":
        schedule, alpha, sigma = ddpm_schedule(1 - levels, levels.dtype), 1 - levels, levels
        alpha, sigma = alpha**0.5, sigma**0.5
    else:
        schedule = flow_schedule(levels, dtype=levels.dtype)
        alpha, sigma = 1 - levels, levels
    a, b = alpha.reshape(-1, 1, 1, 1), sigma.reshape(-1, 1, 1, 1)
    random = torch.Generator().manual_seed(5)
    x, noise, mixed = torch.randn(3, 4, 3, 6, 6, generator=random, dtype=torch.float64)
    every, words = torch.arange(4), torch.tensor([0.5, 0.0]).double().reshape(2, 1, 1, 1)

    def network(x_t: Tensor, word: Tensor) -> Tensor:
        return torch.sin(2 * x_t + mixed[: len(x_t)].repeat(len(x_t) // 4, 1, 1, 1)) + word

    def predict_eps(x_t: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        prediction = torch.cat([network(part, word[:1]) for part, word in zip(
            x_t.split(4), embeddings.split(4), strict=True)])  # fmt: skip
        return to_eps(prediction, x_t, *schedule.at(timesteps), prediction_type)

    def eps_of(x_t: Tensor, word: Tensor) -> Tensor:  # from the definition of each prediction
        said = network(x_t, word)
        x0 = {
            "epsilon": (x_t - b * said) / a,
            "v_prediction": a * x_t - b * said,
            "sample": said,
            "flow": x_t - b * said,
        }[prediction_type]
        return (x_t - a * x0) / b

    x.requires_grad_()
    x_t = add_noise(x.detach(), noise, *schedule.at(every))
    cond, uncond = (word.expand(4, 1, 1, 1) for word in words)
    eps_hat = guided_eps(predict_eps, x_t, every, cond, uncond, GUIDANCE)
    x0_hat = one_step_denoised(x_t, eps_hat, *schedule.at(every))
    l2_loss(x, x0_hat, l2_weight(weighting, schedule, every)).sum().backward()

    noised = a * x.detach() + b * noise
    with_text, without = eps_of(noised, words[:1]), eps_of(noised, words[1:])
    direction = without + GUIDANCE * (with_text - without) - noise
    expected = sds_weight(weighting, alpha, sigma) * direction
    assert relative(x.grad - expected, expected) < 1e-9
