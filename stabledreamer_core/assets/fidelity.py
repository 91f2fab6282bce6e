"""How much of a scene's pictures a file has kept."""

import torch

from stabledreamer_core.scene.cameras import around
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import render_chunks

VIEWS, ELEVATION_DEG, DISTANCE, FOV_DEG, RESOLUTION = 4, 15.0, 3.2, 40.0, 256
GREY = (0.5, 0.5, 0.5)


def psnr_of(splats: Splats, back: Splats) -> float:
    """PSNR in dB of `back`'s renders against those of `splats`, over four views; inf if equal."""
    difference = (pictures(splats) - pictures(back)).square().mean()
    return float(-10.0 * difference.log10())


def pictures(splats: Splats) -> torch.Tensor:
    """Renders [4, 256, 256, 3] in [0, 1] from the front, the left, the back and the right."""
    views = around(VIEWS, ELEVATION_DEG, DISTANCE, FOV_DEG, RESOLUTION)
    chunks = render_chunks(splats, views, GREY, torch.device("cpu"))
    return torch.cat([renders for renders, _ in chunks]).double().clamp(0.0, 1.0)
