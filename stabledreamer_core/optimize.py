"""The stage loop: the same for both stages, whatever the prior.

render -> x -> x_t -> x0_hat -> 1/2 w || x - x0_hat ||^2 -> Adam on the Gaussians
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core import density as density_control
from stabledreamer_core.annealing import learning_rate, sample_timesteps, timestep_range
from stabledreamer_core.cameras import Views, sample_orbit
from stabledreamer_core.config import Stage
from stabledreamer_core.distillation import (
    add_noise,
    guided_eps,
    l2_loss,
    l2_weight,
    limit_x0,
    one_step_denoised,
)
from stabledreamer_core.gaussians import KEYS, Splats, activate
from stabledreamer_core.loop_state import Target, begin, state_tensors
from stabledreamer_core.priors import Prior
from stabledreamer_core.priors.sampling import multi_step
from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.regularizers import regularization
from stabledreamer_core.seeds import derive_seed, generator
from stabledreamer_core.views import view_index


@dataclass(frozen=True)
class Progress:
    """Where a stage stands."""

    step: int  # steps done
    iterations: int
    loss: float
    seconds: float  # in this process


Observe = Callable[[dict[str, Any]], None]
SaveState = Callable[[int, dict[str, Tensor]], None]


def optimize(
    stage: Stage,
    start: Splats,
    prior: Prior,
    embeddings: Tensor,
    uncond: Tensor,
    *,
    seed: int,
    name: str,
    device: torch.device,
    resume: tuple[int, dict[str, Tensor]] | None = None,
    save: SaveState | None = None,
    save_every_seconds: float = 30.0,
    progress: Callable[[Progress], None] | None = None,
    observe: Observe | None = None,
) -> tuple[Splats, list[float]]:
    """Optimise Gaussians against a prior for `stage.iterations` steps.

    Args:
        start: the scene to begin with (gaussians.py).
        embeddings: [V, L, D], one for each of the stage's view words; uncond: [1, L, D].
        seed, name: every random number derives from them and the step.
        resume: (step, tensors) that `save` was given; the result has the same bits on a CPU as
            if the run had never stopped.
        save: called about every `save_every_seconds`.
        observe: called at every step with the tensors of that step (the SDS debugger).

    Returns:
        The scene, and the loss of every step run here.
    """
    params, optimizers, growth, target, first = begin(stage, start, device, resume)
    losses: list[Tensor] = []
    began = saved = time.monotonic()
    for step in range(first, stage.iterations):
        _set_learning_rates(stage, optimizers, step / stage.iterations)

        # 1. Views: new ones, or those whose target is still in use.
        if target is None or step % stage.target_reuse == 0:
            target = _draw(stage, prior, step, seed, name, device)

        # 2. Render.
        gaussians = activate(params)
        colors, alphas, depth, meta = _render(gaussians, target, stage.resolution)
        x = prior.encode(colors.permute(0, 3, 1, 2))

        # 3. The target: noise the render and denoise it.
        if target.x0_hat is None:
            noise = torch.randn(x.shape, generator=generator(seed, name, step, "noise"))
            cond = embeddings[_prompt_indices(target.views, stage.view_words)]
            target.x0_hat = denoise(
                stage, prior, x.detach(), noise.to(x), target.timesteps, cond, uncond
            )

        # 4. Loss: supervised L2 and the regularisers.
        per_view = l2_loss(x, target.x0_hat, target.weight)
        loss = per_view.sum() / x.numel()
        loss = loss + regularization(stage.regularizers, gaussians, colors, alphas, depth)

        # 5. Step.
        if growth:
            growth.before_backward(params, optimizers, step, meta)
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        # 6. Density control.
        if growth:
            growth.after_backward(params, optimizers, step, meta, derive_seed(seed, name, step))
        elif density_control.is_due(stage.density, step, stage.iterations):
            density_control.relocate_dead(
                params,
                optimizers,
                stage.density.dead_opacity,
                generator(seed, name, step, "relocate"),
            )

        # 7. Tell, and keep what is needed to go on.
        losses.append(loss.detach())
        if observe:
            observe(
                {"step": step, "views": target.views, "render": colors, "x": x, "target": target}
            )
        now = time.monotonic()
        if progress and (device.type == "cpu" or step % 10 == 9 or step + 1 == stage.iterations):
            progress(Progress(step + 1, stage.iterations, float(losses[-1]), now - began))
        if save and now - saved > save_every_seconds and step + 1 < stage.iterations:
            save(step + 1, state_tensors(stage, step + 1, params, optimizers, growth, target))
            saved = now
    return {key: params[key].detach() for key in KEYS}, [float(loss) for loss in losses]


@torch.no_grad()
def denoise(
    stage: Stage,
    prior: Prior,
    x: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    cond: Tensor,
    uncond: Tensor,
) -> Tensor:
    """What the prior takes x to be under the prompt: one step (SDS) or several.

    Args:
        x, noise: [B, ...]; timesteps: [B]; cond: [B, L, D]; uncond: [1, L, D].
    """
    abar = prior.alphas_cumprod[timesteps]
    x_t = add_noise(x, noise, abar)
    uncond = uncond.expand_as(cond)
    if stage.target_steps > 1:
        x0_hat = multi_step(
            prior, x_t, timesteps, cond, uncond, stage.guidance_scale, stage.target_steps
        )
    else:
        eps_hat = guided_eps(
            prior.predict_eps,
            x_t,
            timesteps,
            cond,
            uncond,
            stage.guidance_scale,
            stage.guidance_rescale,
        )
        x0_hat = one_step_denoised(x_t, eps_hat, abar)
    return limit_x0(x0_hat, stage.x0_limit)


def _draw(
    stage: Stage, prior: Prior, step: int, seed: int, name: str, device: torch.device
) -> Target:
    """Cameras, backgrounds and timesteps for one step, from (seed, name, step) alone."""
    random = generator(seed, name, step, "views")
    cameras = stage.cameras
    views = sample_orbit(
        stage.views,
        cameras.elevation_deg,
        cameras.distance,
        cameras.fov_deg,
        stage.resolution,
        random,
    )
    low, high = timestep_range(
        stage.annealing.schedule,
        step / stage.iterations,
        stage.annealing.t_min,
        stage.annealing.t_max,
    )
    timesteps = sample_timesteps(low, high, stage.views, len(prior.alphas_cumprod), random)
    timesteps = timesteps.to(device)
    return Target(
        views.to(device),
        _backgrounds(stage.background, stage.views, random).to(device),
        timesteps,
        l2_weight(stage.weighting, prior.alphas_cumprod[timesteps]),
    )


def _backgrounds(kind: str, count: int, random: torch.Generator) -> Tensor:
    """[count, 3]: fixed, or half greys and half colours, so that nothing can hide in them."""
    fixed = {"white": 1.0, "grey": 0.5, "black": 0.0}
    if kind in fixed:
        return torch.full((count, 3), fixed[kind])
    colors = torch.rand(count, 3, generator=random)
    grey = torch.rand(count, 1, generator=random) < 0.5
    return torch.where(grey, colors[:, :1], colors)


def _prompt_indices(views: Views, view_words: str) -> list[int]:
    directions = zip(views.azimuth_deg.tolist(), views.elevation_deg.tolist(), strict=True)
    return [view_index(azimuth, elevation, view_words) for azimuth, elevation in directions]


def _render(
    gaussians: Splats, target: Target, resolution: int
) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
    """RGB [C, H, W, 3], alpha and expected depth [C, H, W, 1], and the rasteriser's meta."""
    renders, alphas, meta = rasterization(
        gaussians["means"],
        gaussians["quats"],
        gaussians["scales"],
        gaussians["opacities"],
        gaussians["colors"],
        target.views.viewmats,
        target.views.Ks,
        width=resolution,
        height=resolution,
        backgrounds=target.backgrounds,
        render_mode="RGB+ED",
    )
    return renders[..., :3], alphas, renders[..., 3:], meta


def _set_learning_rates(
    stage: Stage, optimizers: density_control.Optimizers, progress: float
) -> None:
    for key, optimizer in optimizers.items():
        start, end = getattr(stage.learning_rates, key)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, start, end)
