"""Pictures that metrics look at: an asset's from any azimuth, and the true toy's from there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stabledreamer_core.scene.cameras import orbit
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import render_chunks

if TYPE_CHECKING:
    from toybox.catalogue import Toy

DISTANCE, FOV_DEG = 3.2, 40.0  # the middle of the cameras that the judge was trained on
VIEWS = 8


@dataclass(frozen=True)
class Cutout:
    """V pictures without a background, linear RGB in [0, 1]."""

    colour: Tensor  # [V, 3, R, R] times alpha
    alpha: Tensor  # [V, 1, R, R]

    def on(self, background: tuple[float, float, float] | float) -> Tensor:
        """Pictures [V, 3, R, R] on one solid background."""
        behind = torch.as_tensor(background).to(self.colour).expand(3)[:, None, None]
        return (self.colour + (1.0 - self.alpha) * behind).clamp(0.0, 1.0)

    def cpu(self) -> "Cutout":
        """The same on the CPU."""
        return Cutout(self.colour.cpu(), self.alpha.cpu())


# (azimuths [V] in degrees, side in pixels) -> pictures
Camera = Callable[[Tensor, int], Cutout]


def eight_azimuths() -> Tensor:
    """[8] degrees: 0 (the front), 45, ..., 315."""
    return torch.arange(VIEWS) * (360.0 / VIEWS)


def asset_camera(splats: Splats, elevation_deg: float, device: torch.device) -> Camera:
    """Takes pictures of Gaussians as optimised, on `device`."""

    def take(azimuth_deg: Tensor, resolution: int) -> Cutout:
        level = torch.full_like(azimuth_deg, elevation_deg)
        views = orbit(azimuth_deg, level, DISTANCE, FOV_DEG, resolution)
        chunks = list(render_chunks(splats, views, (0.0, 0.0, 0.0), device))
        colour, alpha = (torch.cat(parts).movedim(-1, 1) for parts in zip(*chunks, strict=True))
        return Cutout(colour, alpha)

    return take


def true_camera(toy: "Toy", elevation_deg: float, variation_seed: int | None = None) -> Camera:
    """Takes pictures of the true toy, on the CPU.

    Args:
        variation_seed: as in `toybox.geometry.solid`; None is the mean shape.
    """
    from toybox.render import render_with_alpha
    from toybox.scenes import toy_batch

    def take(azimuth_deg: Tensor, resolution: int) -> Cutout:
        count = len(azimuth_deg)
        level = torch.full((count,), elevation_deg)
        distance, black = torch.full((count,), DISTANCE), torch.zeros(count, 3)
        scenes = toy_batch(toy, azimuth_deg, level, distance, black, variation_seed)
        renders = render_with_alpha(scenes, resolution)
        return Cutout(renders.images, renders.alpha)

    return take
