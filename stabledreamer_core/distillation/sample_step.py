"""What is random in a step: cameras, backgrounds and noise levels, and the noise itself.

An object's draws depend on (its seed, stage, step) alone, so it comes out the same whatever else is
optimised beside it. Noise is drawn on the device, all else on the CPU; nothing here makes a GPU's
host wait.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stabledreamer_core.distillation.annealing import sample_timesteps, timestep_range
from stabledreamer_core.distillation.loss import l2_weight
from stabledreamer_core.memory import upload
from stabledreamer_core.priors.schedule import Schedule
from stabledreamer_core.scene.cameras import Views, orbit, sample_orbit
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.stage import Stage


@dataclass
class Target:
    """Views and what the renders are pulled towards (kept_targets.py).

    C views of each of B objects, object by object.
    """

    views: Views  # [B C]
    backgrounds: Tensor  # [B C, 3]
    timesteps: Tensor  # [B C]
    weight: Tensor  # [B C]
    x0_hat: Tensor | None = None  # [B C, ...] in the space of the loss


def draw_target(stage: Stage, schedule: Schedule, step: int, seeds: list[int], name: str) -> Target:
    """Draw one step's cameras, backgrounds and timesteps, on the device of the schedule."""
    device = schedule.alphas.device
    cameras, progress = stage.cameras, step / stage.iterations
    annealing = stage.annealing
    low, high = timestep_range(annealing.schedule, progress, annealing.t_min, annealing.t_max)
    places, backgrounds, levels = [], [], []
    for seed in seeds:
        random = generator(seed, name, step, "views")
        places.append(sample_orbit(stage.views, cameras.elevation_deg, cameras.distance, random))
        levels.append(sample_timesteps(low, high, stage.views, len(schedule.indices), random))
        backgrounds.append(_backgrounds(stage.background, stage.views, random))
    azimuth_deg, elevation_deg, distance = (torch.cat(part) for part in zip(*places, strict=True))
    side = stage.render_resolution(progress)
    views = orbit(azimuth_deg, elevation_deg, distance, cameras.fov_deg, side)
    timesteps = schedule.indices[upload(torch.cat(levels), device)]
    weight = l2_weight(stage.weighting, schedule, timesteps)
    return Target(views.to(device), upload(torch.cat(backgrounds), device), timesteps, weight)


def draw_noise(
    like: Tensor, step: int, seeds: list[int], name: str, purpose: str = "noise"
) -> Tensor:
    """Draw standard normal noise of the shape of `like` [B C, ...]; another for each purpose."""
    shape, device = (len(like) // len(seeds), *like.shape[1:]), like.device
    randoms = [generator(seed, name, step, purpose, device=device) for seed in seeds]
    drawn = [torch.randn(shape, generator=random, device=device) for random in randoms]
    return torch.cat(drawn).to(like)


def _backgrounds(kind: str, count: int, random: torch.Generator) -> Tensor:
    """Backgrounds [count, 3]: fixed, or half greys and half colours, in which nothing can hide."""
    fixed = {"white": 1.0, "grey": 0.5, "black": 0.0}
    if kind in fixed:
        return torch.full((count, 3), fixed[kind])
    colors = torch.rand(count, 3, generator=random)
    grey = torch.rand(count, 1, generator=random) < 0.5
    return torch.where(grey, colors[:, :1], colors)
