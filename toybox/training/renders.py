"""Endless training renders: Toybox scenes drawn, rendered and captioned on the device."""

from collections.abc import Callable

import torch
from torch import Tensor

from toybox.render import render
from toybox.scenes import Batch, Sampler
from toybox.training.settings import Training
from toybox.translucent import render_translucent

Draw = Callable[[int, int, torch.Generator], tuple[Tensor, Batch]]


def renders(settings: Training, device: torch.device, split: str = "train") -> Draw:
    """A function (count, resolution, generator) -> images [n, 3, R, R] in [0, 1] and their scenes.

    Args:
        split: "train", or "heldout" for the toys training never sees.
    """
    sampler = Sampler(
        device, shape_seed=settings.shape_seed, variations=settings.variations, split=split
    )

    density, samples = settings.jelly_density, settings.samples_per_axis

    def draw(count: int, resolution: int, generator: torch.Generator) -> tuple[Tensor, Batch]:
        batch = sampler.sample(count, generator)
        if density:
            jelly = render_translucent(batch, resolution, density, samples=samples)
            return jelly.images, batch
        return render(batch, resolution, samples=samples), batch

    return draw
