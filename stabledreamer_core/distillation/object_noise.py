"""Noise that is attached to the object: what two views see of one place has the same noise.

CFD (Yan et al. 2025, arXiv 2501.05445) and GSD (Kwak et al. 2024, arXiv 2406.16695) noise the
views of a step with one noise on the object's surface, so that the prior's answers agree between
views. Theirs lives on a finely divided reference surface, warped to each view so that a pixel is
the sum of the cells it covers over the root of their number (Chang et al. 2024, "How I warped your
noise"). Here the cells are the Gaussians.
"""

import torch
from torch import Tensor

from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.seeds import generator

MIN_ALPHA = 0.5  # a fainter pixel shows no surface
BEHIND = 0.05  # world units: a centre farther than that behind what is seen is hidden


@torch.no_grad()
def object_noise(
    means: Tensor,
    views: Views,
    depth: Tensor,
    alphas: Tensor,
    fresh: Tensor,
    seeds: list[int],
    name: str,
    number: int = 0,
) -> Tensor:
    """Project the noise of B objects' Gaussians into their views; where none is seen, keep `fresh`.

    Each pixel is the sum of the noise of those Gaussians whose centre is seen in it, over the root
    of their number. A centre lies in one pixel, so in each view the pixels are independent and
    standard normal, whatever the scene; between views they are as alike as what they see.

    Args:
        means: [B, N, 3], N alike through the stage, or else a Gaussian's noise changes with it.
        views, depth, alphas: B C of them, object by object; depth, alphas: [B C, H, W, 1].
        fresh: [B C, D, h, w] independent standard normal noise; h by w may be coarser than H by W.
        seeds, name, number: an object's noise depends on its seed, the stage's name and which of
            its noises this is.
    """
    count, n = means.shape[:2]
    each = len(fresh) // count
    channels, h, w = fresh.shape[1:]
    purpose = f"object {number}" if number else "object"
    drawn = [torch.randn(n, channels, generator=generator(seed, name, purpose)) for seed in seeds]
    attached = torch.stack(drawn).to(fresh)

    # 1. Where each view sees each centre, in pixels of its render.
    rotated = torch.einsum("vij,vnj->vni", views.viewmats[:, :3, :3], _each(means, each))
    points = rotated + views.viewmats[:, None, :3, 3]
    z = points[..., 2]
    pixels = torch.einsum("vij,vnj->vni", views.Ks, points)[..., :2] / z[..., None].clamp(min=1e-6)
    column, row = pixels.floor().long().unbind(-1)
    side_y, side_x = depth.shape[1:3]
    inside = (z > 0) & (column >= 0) & (column < side_x) & (row >= 0) & (row < side_y)
    flat = row.clamp(0, side_y - 1) * side_x + column.clamp(0, side_x - 1)
    surface, alpha = (part.flatten(1).gather(1, flat) for part in (depth, alphas))
    seen = inside & (alpha > MIN_ALPHA) & (z < surface + BEHIND)

    # 2. The sum of their noise in each pixel of the prior's space.
    cell = (row * h // side_y).clamp(0, h - 1) * w + (column * w // side_x).clamp(0, w - 1)
    cell = torch.where(seen, cell, h * w)  # one cell more, for what is not seen
    sums = fresh.new_zeros(len(fresh), h * w + 1, channels)
    sums.scatter_add_(1, cell[..., None].expand(-1, -1, channels), _each(attached, each))
    numbers = fresh.new_zeros(len(fresh), h * w + 1).scatter_add_(1, cell, seen.to(fresh))
    sums, numbers = sums[:, :-1], numbers[:, :-1, None]
    noise = torch.where(numbers > 0, sums / numbers.clamp(min=1.0).sqrt(), fresh.flatten(2).mT)
    return noise.mT.unflatten(2, (h, w))


def _each(values: Tensor, times: int) -> Tensor:
    """[B, ...] -> [B times, ...], object by object."""
    return values.repeat_interleave(times, 0)
