"""The stage loop: the same for both stages, whatever the prior, for one object or a batch of them.

render -> x -> x_t -> x0_hat -> 1/2 w || x - x0_hat ||^2 -> Adam on the Gaussians

B objects of N Gaussians each lie one after another in tensors of B N rows; C views of each give
batches of B C images. On a laptop B is 1.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stabledreamer_core.distillation.annealing import learning_rate
from stabledreamer_core.distillation.denoise import multi_step
from stabledreamer_core.distillation.loss import (
    add_noise,
    guidance_scales,
    guided_eps,
    l2_loss,
    limit_x0,
    one_step_denoised,
)
from stabledreamer_core.distillation.loss_space import (
    target_in_loss_space,
    to_loss_space,
    to_prior_space,
)
from stabledreamer_core.distillation.sample_step import Target, draw_noise, draw_target
from stabledreamer_core.distillation.view_prompts import VOCABULARIES, view_index
from stabledreamer_core.optimization import guard as guarding
from stabledreamer_core.optimization.state import begin, state_tensors
from stabledreamer_core.priors import Prior
from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene import density as density_control
from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.scene.gaussians import KEYS, Splats, activate
from stabledreamer_core.scene.regularizers import regularization
from stabledreamer_core.seeds import derive_seed, generator
from stabledreamer_core.settings.config import Stage


@dataclass(frozen=True)
class Progress:
    """Where a stage stands."""

    step: int  # steps done
    iterations: int
    loss: float  # mean over the objects
    seconds: float  # in this process


Observe = Callable[[dict[str, Any]], None]
SaveState = Callable[[int, dict[str, Tensor]], None]


def optimize(
    stage: Stage,
    starts: list[Splats],
    prior: Prior,
    embeddings: Tensor,
    uncond: Tensor,
    *,
    seeds: list[int],
    name: str,
    device: torch.device,
    resume: tuple[int, dict[str, Tensor]] | None = None,
    save: SaveState | None = None,
    save_every_seconds: float = 30.0,
    progress: Callable[[Progress], None] | None = None,
    observe: Observe | None = None,
) -> tuple[list[Splats], Tensor]:
    """Optimise the Gaussians of B objects against a prior for `stage.iterations` steps.

    Args:
        starts: the scenes to begin with (gaussians.py), all of one size.
        embeddings: [B, V, L, D], one for each of the stage's view words; uncond: [1, L, D].
        seeds, name: every random number of an object derives from its seed, the name and the step.
        resume: (step, tensors) that `save` was given; the result has the same bits on a CPU as
            if the run had never stopped.
        save: called about every `save_every_seconds`.
        observe: called at every step with its tensors (debugger/record.py); "loss" is each view's,
            a number of x, and "x", "noise", "x0_hat", "cond" and "uncond" are there where the prior
            was asked.

    Returns:
        The scenes, and the losses [steps run here, B]: each object's L2 loss, and the
        regularisers' mean over the objects.

    Raises:
        UserError: numbers went wrong again and again (guard.py).
        ValueError: the numbers of starts, seeds and embeddings differ, or the density strategy
            "default" is asked for more than one object.
    """
    count = len(seeds)
    if not count == len(starts) == len(embeddings):
        raise ValueError(f"{len(starts)} scenes, {count} seeds, {len(embeddings)} embeddings")
    params, optimizers, growth, target, first = begin(stage, starts, device, resume)
    guard = guarding.Guard()
    if resume:
        guard.resume(resume)
    losses: list[Tensor] = []
    began = saved = time.monotonic()
    step = first
    while step < stage.iterations:
        _set_learning_rates(stage, optimizers, step / stage.iterations, guard.rate)

        # 1. Views: new ones, or those whose target is still in use.
        if target is None or step % stage.target_reuse == 0:
            target = draw_target(stage, prior.alphas_cumprod, step, seeds, name)

        # 2. Render.
        gaussians = activate(params)
        colors, alphas, depth, meta = render(gaussians, target, count)
        images = F.avg_pool2d(colors.permute(0, 3, 1, 2), stage.supersampling)
        x = to_loss_space(stage, prior, images)

        # 3. The target: noise the render and denoise it.
        asked: dict[str, Tensor] = {}
        if target.x0_hat is None:
            z = to_prior_space(stage, prior, images, x)
            noise = draw_noise(z, step, seeds, name)
            cond = embeddings.flatten(0, 1)[_prompt_rows(target.views, stage.view_words, count)]
            x0_hat = denoise(stage, prior, z, noise, target.timesteps, cond, uncond)
            target.x0_hat = target_in_loss_space(stage, prior, images, z, x0_hat)
            asked = {"x": z, "noise": noise, "x0_hat": x0_hat, "cond": cond, "uncond": uncond}

        # 4. Loss of each object: supervised L2 and the regularisers (their mean).
        per_view = l2_loss(x, target.x0_hat, target.weight)
        loss = per_view.reshape(count, -1).sum(1) / (x.numel() // count)
        loss = loss + regularization(stage.regularizers, gaussians, colors, alphas, depth)

        # 5. Step.
        if growth:
            growth.before_backward(params, optimizers, step, meta)
        loss.sum().backward()
        if not stage.anisotropic:
            gradient = params["scales"].grad
            gradient.copy_(gradient.mean(-1, keepdim=True).expand_as(gradient))
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        # 6. If numbers went wrong: back, and on with smaller steps.
        losses.append(loss.detach())
        looked = guarding.is_due(step, device) or step + 1 == stage.iterations
        if looked and not guarding.all_finite(loss, params):
            diagnosis = guarding.diagnose(loss, x, target.x0_hat, params)
            resume = guard.roll_back(name, step, diagnosis)
            params, optimizers, growth, target, step = begin(stage, starts, device, resume)
            del losses[max(0, step - first) :]
            continue

        # 7. Density control.
        if growth:
            growth.after_backward(params, optimizers, step, meta, derive_seed(seeds[0], name, step))
        elif density_control.is_due(stage.density, step, stage.iterations):
            randoms = [generator(seed, name, step, "relocate") for seed in seeds]
            density_control.relocate_dead(params, optimizers, stage.density.dead_opacity, randoms)

        # 8. Tell, and keep what is needed to go on.
        if observe:
            observe(
                {"step": step, "views": target.views, "prior": prior, "target": target}
                | {"render": images.permute(0, 2, 3, 1), "loss": per_view.detach() / x[0].numel()}
                | asked
            )
        step += 1
        now = time.monotonic()
        if progress and (device.type == "cpu" or step % 10 == 0 or step == stage.iterations):
            mean = float(losses[-1].mean())
            progress(Progress(step, stage.iterations, mean, now - began))
        saving = save is not None and now - saved > save_every_seconds
        if looked and step < stage.iterations and (saving or step % guarding.KEEP_EVERY == 0):
            state = state_tensors(stage, step, params, optimizers, growth, target)
            guard.keep(step, state)
            if save and saving:
                save(step, state | guard.tensors())
                saved = now
    parts = {key: params[key].detach().chunk(count) for key in KEYS}
    scenes = [{key: parts[key][index] for key in KEYS} for index in range(count)]
    return scenes, torch.stack(losses) if losses else torch.zeros(0, count)


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
    scale, interval = stage.guidance_scale, stage.guidance_interval
    if stage.target_steps > 1:
        x0_hat = multi_step(
            *(prior, x_t, timesteps, cond, uncond, scale, stage.target_steps),
            guidance_interval=interval,
            guidance_rescale=stage.guidance_rescale,
        )
    else:
        scales = guidance_scales(timesteps, len(prior.alphas_cumprod), scale, interval)
        eps_hat = guided_eps(
            prior.predict_eps, x_t, timesteps, cond, uncond, scales, stage.guidance_rescale
        )
        x0_hat = one_step_denoised(x_t, eps_hat, abar)
    return limit_x0(x0_hat, stage.x0_limit)


def render(
    gaussians: Splats, target: Target, count: int
) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
    """RGB [B C, H, W, 3], alpha and expected depth [B C, H, W, 1], and the rasteriser's meta.

    Args:
        gaussians: activated, of `count` objects one after another.
    """
    views = target.views

    def apart(tensor: Tensor) -> Tensor:
        return tensor if count == 1 else tensor.unflatten(0, (count, -1))

    renders, alphas, meta = rasterization(
        apart(gaussians["means"]),
        apart(gaussians["quats"]),
        apart(gaussians["scales"]),
        apart(gaussians["opacities"]),
        apart(gaussians["colors"]),
        apart(views.viewmats),
        apart(views.Ks),
        width=views.resolution,
        height=views.resolution,
        backgrounds=apart(target.backgrounds),
        render_mode="RGB+ED",
    )
    if count > 1:
        renders, alphas = renders.flatten(0, 1), alphas.flatten(0, 1)
    return renders[..., :3], alphas, renders[..., 3:], meta


def _prompt_rows(views: Views, view_words: str, count: int) -> list[int]:
    """For each view the row of the embeddings [B V, ...] of its object's prompt with its words."""
    directions = zip(views.azimuth_deg.tolist(), views.elevation_deg.tolist(), strict=True)
    words = [view_index(azimuth, elevation, view_words) for azimuth, elevation in directions]
    each = len(words) // count
    vocabulary = len(VOCABULARIES[view_words])
    return [index // each * vocabulary + word for index, word in enumerate(words)]


def _set_learning_rates(
    stage: Stage, optimizers: density_control.Optimizers, progress: float, factor: float
) -> None:
    for key, optimizer in optimizers.items():
        start, end = getattr(stage.learning_rates, key)
        for group in optimizer.param_groups:
            group["lr"] = factor * learning_rate(progress, start, end)
