"""Several denoising steps: the multi-step target, and ordinary samples to look at."""

import torch
from torch import Tensor

from stabledreamer_core.distillation.loss import (
    add_noise,
    guidance_scales,
    guided_eps,
    limit_x0,
    one_step_denoised,
    per_sample,
)
from stabledreamer_core.distillation.perp_neg import WrongViews
from stabledreamer_core.priors.prior import Prior


def multi_step(
    prior: Prior,
    x_t: Tensor,
    timesteps: Tensor,
    cond: Tensor,
    uncond: Tensor,
    guidance_scale: float,
    steps: int,
    x0_limit: str = "none",
    guidance_interval: tuple[float, float] = (0.0, 1.0),
    guidance_rescale: float = 0.0,
    wrong: WrongViews | None = None,
) -> Tensor:
    """Denoise x_t to x0 in `steps` deterministic DDIM steps (Song et al. 2021, eta = 0).

    Each sample goes from its own timestep t to the image in equal strides, the timesteps
    (t + 1)(1 - k / steps) - 1: diffusers' "trailing" spacing, cut off at t. One step gives the
    one-step denoised image.

    Args:
        x_t: [B, C, H, W]; timesteps: [B]; cond, uncond: [B, L, D].
        steps: at least 1.
        x0_limit: how each step's x0_hat is kept in range (`distillation.X0_LIMITS`); eps is then
            the one that fits the limited x0_hat.
        guidance_interval: noise levels that are guided (`distillation.guidance_scales`).
        guidance_rescale, wrong: of every step (`distillation.guided_eps`).

    Returns:
        x0 [B, C, H, W], without gradient.
    """
    x = x_t.detach()
    now = timesteps
    for k in range(1, steps + 1):
        levels = prior.schedule.fractions[now]
        scales = guidance_scales(levels, guidance_scale, guidance_interval)
        eps = guided_eps(prior.predict_eps, x, now, cond, uncond, scales, guidance_rescale, wrong)
        alpha, sigma = prior.schedule.at(now)
        x0 = one_step_denoised(x, eps, alpha, sigma)
        if x0_limit != "none":
            x0 = limit_x0(x0, x0_limit)
            eps = (x - per_sample(alpha, x) * x0) / per_sample(sigma, x)
        if k == steps:
            return x0
        now = (((timesteps + 1) * (steps - k)) / steps).round().long() - 1
        now = now.clamp(min=0)
        x = add_noise(x0, eps, *prior.schedule.at(now))
    raise ValueError(f"steps is {steps}, not at least 1")


def sample(
    prior: Prior,
    cond: Tensor,
    uncond: Tensor,
    guidance_scale: float,
    steps: int,
    generator: torch.Generator,
    x0_limit: str = "none",
) -> Tensor:
    """Sample images [B, 3, H, W] in [0, 1] from pure noise, one per row of `cond` [B, L, D].

    `generator` is a CPU one, so that a seed gives the same noise on every device.
    """
    noise = torch.randn(len(cond), *prior.sample_shape, generator=generator).to(prior.device)
    noise = noise * prior.schedule.sigmas[-1].clamp(min=1.0)  # more than 1 of some flows
    last = torch.full((len(cond),), len(prior.schedule) - 1, device=prior.device)
    x0 = multi_step(prior, noise, last, cond, uncond, guidance_scale, steps, x0_limit)
    with torch.no_grad():
        return prior.decode(x0)
