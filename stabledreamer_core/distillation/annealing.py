"""The noise level over time: where in a stage the range of timesteps stands, and how it falls.

StableDreamer (section 4.2): high noise first settles the coarse shape, lower noise later adds
detail without letting every view grow a face of its own. Noise levels are fractions throughout
(priors/schedule.py): 0 is no noise, 1 pure noise.
"""

import math

import torch
from torch import Tensor

SCHEDULES = ("none", "linear", "sqrt", "cosine", "step")


def anneal(schedule: str, progress: float, start: float, end: float) -> float:
    """Interpolate from `start` to `end` at `progress` in [0, 1] through the stage.

    none: `start` throughout. linear: straight. sqrt: start - (start - end) sqrt(progress), fast
    first (HiFA, Zhu & Zhuang 2023, equation 8). cosine: slow at both ends. step: `start` for the
    first half, then `end` (GSGEN, threestudio).
    """
    if schedule == "none":
        return start
    fraction = {
        "linear": progress,
        "sqrt": math.sqrt(progress),
        "cosine": 0.5 - 0.5 * math.cos(math.pi * progress),
        "step": float(progress >= 0.5),
    }[schedule]
    return start + (end - start) * fraction


def timestep_range(
    schedule: str,
    progress: float,
    t_min: tuple[float, float],
    t_max: tuple[float, float],
) -> tuple[float, float]:
    """Return the lowest and highest noise level at `progress`, as fractions of the schedule."""
    low = anneal(schedule, progress, *t_min)
    high = anneal(schedule, progress, *t_max)
    return min(low, high), high


def sample_timesteps(
    low: float, high: float, count: int, length: int, generator: torch.Generator
) -> Tensor:
    """Draw [count] integers in [0, length), stratified over [low, high], shuffled.

    With length = len(schedule.indices), `schedule.indices` gives their timesteps.
    """
    strata = torch.randperm(count, generator=generator)
    fraction = (strata + torch.rand(count, generator=generator)) / count
    timesteps = (low + (high - low) * fraction) * length
    return timesteps.long().clamp(0, length - 1)


def learning_rate(progress: float, start: float, end: float) -> float:
    """Interpolate log-linearly, as 3D Gaussian Splatting decays the rate of positions."""
    return start * (end / start) ** progress
