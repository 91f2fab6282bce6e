"""Endless training renders: Toybox scenes drawn, rendered and captioned on the device."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from toybox.render import render
from toybox.scenes import Batch, Sampler
from toybox.training.settings import Training
from toybox.training.vocabulary import draw_rows
from toybox.translucent import render_translucent

FRONT_SPREAD_DEG = 20.0  # standard deviation of what counts as seen from the front

Draw = Callable[[int, int, torch.Generator], tuple[Tensor, Batch]]
Captioned = Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]


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
        batch = from_the_front(sampler.sample(count, generator), settings.front_share, generator)
        if density:
            jelly = render_translucent(batch, resolution, density, samples=samples)
            return jelly.images, batch
        return render(batch, resolution, samples=samples), batch

    return draw


def captioned(settings: Training, device: torch.device) -> Captioned:
    """A function (count, resolution, generator) -> images in [-1, 1] and `all_captions()` rows."""
    draw = renders(settings, device)

    def drawn(count: int, resolution: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        images, scenes = draw(count, resolution, generator)
        x = (2.0 * images - 1.0).contiguous(memory_format=torch.channels_last)
        rows = draw_rows(
            scenes.toy_index,
            scenes.azimuth_deg,
            scenes.elevation_deg,
            settings.captions,
            generator,
        )
        return x, rows

    return drawn


def from_the_front(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """A share of the scenes seen from azimuths of a normal distribution about the front."""
    if share == 0.0:
        return batch
    count, device = len(batch), batch.azimuth_deg.device
    chosen = torch.rand(count, generator=generator, device=device) < share
    near = FRONT_SPREAD_DEG * torch.randn(count, generator=generator, device=device)
    return replace(batch, azimuth_deg=torch.where(chosen, near % 360.0, batch.azimuth_deg))
