"""The debugger after a run: a finished scene, or any checkpoint, as its prior sees it."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from stabledreamer_core.debugger.files import Pictures, Seen
from stabledreamer_core.debugger.record import facts, pictures
from stabledreamer_core.distillation.debias import stage_prompts
from stabledreamer_core.distillation.loss import l2_loss, l2_weight
from stabledreamer_core.distillation.loss_space import (
    target_in_loss_space,
    to_loss_space,
    to_prior_space,
)
from stabledreamer_core.distillation.noise import mixed
from stabledreamer_core.distillation.object_noise import object_noise
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.reward import rewarded
from stabledreamer_core.distillation.view_conditions import view_conditions
from stabledreamer_core.priors import Prior
from stabledreamer_core.scene.cameras import Views, around
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import drawable, render_chunks
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import Debug
from stabledreamer_core.settings.stage import Stage

ELEVATION_DEG = 15.0
GREY = (0.5, 0.5, 0.5)


@torch.no_grad()
def probe(
    settings: Debug,
    stage: Stage,
    prior: Prior,
    splats: Splats,
    prompt: str,
    levels: list[float],
    device: torch.device,
    base: Path | None = None,
) -> Iterator[tuple[Pictures, tuple[Seen, ...]]]:
    """For each noise level: what the loop would show of `settings.views` cameras around the scene.

    The cameras, the grey background and the noise are the same at every level.

    Args:
        splats: as optimised. levels: of noise, in (0, 1).
        base: where a relative language model is looked for after the current folder.
    """
    views, render, depth, alphas = _renders(settings, stage, splats, device)
    embeddings = prior.embed([*stage_prompts(stage, prompt, base), ""])
    cond, wrong = view_conditions(stage, embeddings[None, :-1], views)
    uncond = embeddings[-1:]
    images = render.permute(0, 3, 1, 2)
    x = prior.encode(images)

    def draw(number: int) -> Tensor:
        parts = ("debug", number) if number else ("debug",)
        fresh = torch.randn(x.shape, generator=generator(*parts)).to(x)
        if stage.noise != "object" or number == stage.reward.samples:
            return fresh
        means = drawable(splats, device)["means"][None]
        on_it = object_noise(means, views.to(device), depth, alphas, fresh, [0], "debug", number)
        return mixed(on_it, fresh, stage.noise_fresh)

    negative = prior.embed([stage.negative_prompt]) if stage.target == "noise_free" else None
    for level in levels:
        timesteps = torch.full((len(x),), prior.schedule.index(level), device=x.device)
        asked = Question(x, draw(0), timesteps, cond, uncond, negative, wrong, progress=1.0)
        x0_hat = rewarded(stage, prior, asked, draw)
        weight = l2_weight(stage.weighting, prior.schedule, timesteps)
        seen = to_loss_space(stage, prior, images)
        _, pull = to_prior_space(stage, prior, images, x)
        target = target_in_loss_space(stage, prior, images, x, x0_hat, pull)
        losses = l2_loss(seen, target, weight) / seen[0].numel()
        shown = pictures(stage, prior, render, asked, x0_hat, settings.many_steps)
        yield shown, facts(stage, views, list(range(len(x))), timesteps, losses, prior)


def _renders(
    settings: Debug, stage: Stage, splats: Splats, device: torch.device
) -> tuple[Views, Tensor, Tensor, Tensor]:
    """The cameras, and their renders [C, H, W, 3], depth and alphas [C, H, W, 1]."""
    cameras = stage.cameras
    distance = sum(cameras.distance) / 2
    views = around(settings.views, ELEVATION_DEG, distance, cameras.fov_deg, stage.resolution)
    chunks = list(render_chunks(splats, views, GREY, device, depth=True))
    renders, alphas = (torch.cat(parts).clone() for parts in zip(*chunks, strict=True))
    return views, renders[..., :3], renders[..., 3:], alphas  # clones are out of inference mode
