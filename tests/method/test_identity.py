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

GUIDANCE = 20.0
TIMESTEPS = torch.tensor([20, 250, 600, 950])


def relative(error: Tensor, truth: Tensor) -> float:
    return float(error.norm() / truth.norm())


def sds_weight(weighting: str, abar: Tensor) -> Tensor:
    """w(t), written from the definitions (DreamFusion; constant; constant on the L2 form)."""
    w = {"sds": 1 - abar, "uniform": abar**0, "x0": ((1 - abar) / abar) ** 0.5}[weighting]
    return w.reshape(-1, 1, 1, 1)


def sds_direction(prior: Prior, x: Tensor, noise: Tensor, cond: Tensor, uncond: Tensor) -> Tensor:
    """eps_hat - eps from the UNet itself, no code of ours between."""
    abar = prior.alphas_cumprod.double()[TIMESTEPS].reshape(-1, 1, 1, 1)
    x_t = abar**0.5 * x + (1 - abar) ** 0.5 * noise
    unet, channels = prior._network("unet"), x.shape[1]
    with torch.no_grad():
        without = unet(x_t, TIMESTEPS, encoder_hidden_states=uncond).sample[:, :channels]
        with_text = unet(x_t, TIMESTEPS, encoder_hidden_states=cond).sample[:, :channels]
    if prior._prediction_type == "v_prediction":
        without = abar**0.5 * without + (1 - abar) ** 0.5 * x_t
        with_text = abar**0.5 * with_text + (1 - abar) ** 0.5 * x_t
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
    abar = prior.alphas_cumprod[TIMESTEPS].double()
    x_t = add_noise(x.detach(), noise, abar)
    eps_hat = guided_eps(prior.predict_eps, x_t, TIMESTEPS, cond, uncond, GUIDANCE)
    x0_hat = one_step_denoised(x_t, eps_hat, abar)
    loss = l2_loss(x, x0_hat, l2_weight(weighting, abar)).sum()
    grad_x, grad_render = torch.autograd.grad(loss, [x, render], retain_graph=True)

    # The SDS gradient, and its pull-back through the encoder.
    expected = sds_weight(weighting, abar) * sds_direction(prior, x.detach(), noise, cond, uncond)
    (expected_render,) = torch.autograd.grad(x, render, grad_outputs=expected)
    assert relative(grad_x - expected, expected) < 1e-6
    assert relative(grad_render - expected_render, expected_render) < 1e-6
    for i in range(count):  # each noise level by itself: none hides behind a larger one
        assert relative(grad_x[i] - expected[i], expected[i]) < 1e-6
