"""What x is noised with: the setting `noise` of a stage.

Every method here gives x_t = alpha_t x + sigma_t eps with another eps, so the loss (loss.py) and
every target (target.py) stay as they are. `random` is SDS; `object` draws its eps before, from the
scene (object_noise.py); `inverted` asks the prior for it.
"""

import torch
from torch import Tensor

from stabledreamer_core.distillation.loss import (
    add_noise,
    guided_eps,
    one_step_denoised,
    per_sample,
)
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.priors import Prior
from stabledreamer_core.settings.stage import Stage


def noised(stage: Stage, prior: Prior, asked: Question, timesteps: Tensor) -> Tensor:
    """Noise asked.x [B, ...] to timesteps [B] by the stage's noise: x_t, without gradient."""
    noise = asked.noise
    if stage.noise == "inverted":
        inversion = stage.inversion
        found = inverted(prior, asked, timesteps, inversion.steps, inversion.guidance_scale)
        noise = mixed(found, asked.noise, stage.noise_fresh)
    return add_noise(asked.x, noise, *prior.schedule.at(timesteps))


def mixed(noise: Tensor, fresh: Tensor, share: float) -> Tensor:
    """Replace a share of the variance of `noise` by independent noise: the sum keeps its unit."""
    return noise if share == 0.0 else (1.0 - share) ** 0.5 * noise + share**0.5 * fresh


@torch.no_grad()
def inverted(
    prior: Prior, asked: Question, timesteps: Tensor, steps: int, guidance_scale: float
) -> Tensor:
    """Find the noise eps from which the prior would denoise to x: DDIM inversion.

    SDI (Lukoianov et al. 2024, arXiv 2405.15891): the deterministic path (DDIM, Song et al. 2021)
    walked from x up to t in equal strides, under the prompt with a guidance of its own; the
    paper's is the negative of the target's, -7.5.

    Args:
        timesteps: [B]; steps: strides, each a call of the prior.
        guidance_scale: 1 asks for the prompt alone, 0 for the empty prompt alone; one call of the
            network each, where others need two.

    Returns:
        eps like x, with x_t = alpha_t x + sigma_t eps the end of the path.
    """
    x_k, now = asked.x, torch.zeros_like(timesteps)
    for k in range(1, steps + 1):
        eps = predict(prior, asked, x_k, now, guidance_scale)
        x0 = one_step_denoised(x_k, eps, *prior.schedule.at(now)) if k > 1 else asked.x
        now = (((timesteps + 1) * k) / steps).round().long().clamp(min=1) - 1
        x_k = add_noise(x0, eps, *prior.schedule.at(now))
    alpha, sigma = prior.schedule.at(now)
    return (x_k - per_sample(alpha, x_k) * asked.x) / per_sample(sigma, x_k)


def predict(
    prior: Prior, asked: Question, x_t: Tensor, timesteps: Tensor, guidance_scale: float
) -> Tensor:
    """Predict eps [B, ...] under the prompt with guidance; 0 and 1 need one call, not two."""
    uncond = asked.uncond.expand_as(asked.cond)
    if guidance_scale == 0.0:
        return prior.predict_eps(x_t, timesteps, uncond)
    return guided_eps(prior.predict_eps, x_t, timesteps, asked.cond, uncond, guidance_scale)
