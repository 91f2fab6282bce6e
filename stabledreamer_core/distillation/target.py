"""What a render is pulled towards: x0_hat, what the prior takes the noised render to be."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stabledreamer_core.distillation.denoise import multi_step
from stabledreamer_core.distillation.loss import (
    add_noise,
    guidance_scales,
    guided_eps,
    limit_x0,
    one_step_denoised,
)
from stabledreamer_core.priors import Prior
from stabledreamer_core.settings.config import Stage


@dataclass(frozen=True)
class Question:
    """What the prior is asked about B images in its own space."""

    x: Tensor  # [B, ...] without gradient
    noise: Tensor  # like x
    timesteps: Tensor  # [B]
    cond: Tensor  # [B, L, D] the embedding of each image's prompt
    uncond: Tensor  # [1, L, D] that of the empty prompt

    def of(self, rows: list[int]) -> "Question":
        """The same question about these of the images."""
        parts = {key: getattr(self, key)[rows] for key in ("x", "noise", "timesteps", "cond")}
        return replace(self, **parts)


@torch.no_grad()
def denoise(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """Noise x and denoise it under the prompt, in one step (SDS) or several: x0_hat, like x."""
    alpha, sigma = prior.schedule.at(asked.timesteps)
    x_t = add_noise(asked.x, asked.noise, alpha, sigma)
    uncond = asked.uncond.expand_as(asked.cond)
    prompts = asked.timesteps, asked.cond, uncond
    scale, interval = stage.guidance_scale, stage.guidance_interval
    if stage.target_steps > 1:
        x0_hat = multi_step(
            *(prior, x_t, *prompts, scale, stage.target_steps),
            guidance_interval=interval,
            guidance_rescale=stage.guidance_rescale,
        )
    else:
        scales = guidance_scales(prior.schedule.fractions[asked.timesteps], scale, interval)
        eps_hat = guided_eps(prior.predict_eps, x_t, *prompts, scales, stage.guidance_rescale)
        x0_hat = one_step_denoised(x_t, eps_hat, alpha, sigma)
    return limit_x0(x0_hat, stage.x0_limit)
