"""Depth maps fused into a signed field that is negative inside, positive outside, known everywhere.

After Curless and Levoy (1996), with two changes that make the surface closed by construction:
every cell gets a value, because a camera that cannot see a cell (something is in front of it)
votes weakly for "inside", and a cell without votes is inside. A hole is left only where cameras see
through.

A grid of a quarter of the resolution comes first; the full one is fused only where that one says
that a surface is near, which is a seventh of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from stabledreamer_core.assets.mesh.views import Survey, pixel_rays

# What all the cameras that cannot see a cell weigh together. More than two cameras have to see
# through it, so that a gap in the Gaussians pierces nothing; ten, and a deep mug would fill up.
HIDDEN_WEIGHT = 2.0
MIN_FACING = 0.2  # steeper surfaces than this have no reliable normal
EMPTY = -1.0  # in a depth map: the camera sees through
UNSURE = -1.0  # in place of facing: two layers mix, only what is before them is known
MIXED = 3.0  # from which standard deviation of the depth, in truncations
BLOCK = 4  # cells along the edge of a block, and how much coarser the first grid is
OUTSIDE, INSIDE = 0.8, -0.99  # a coarse value beyond these, and all about it: no surface is near

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Field:
    """Values at the points origin + index * cell of a cube."""

    values: np.ndarray  # [R, R, R] float32 in [-1, 1], axes x, y, z
    origin: np.ndarray  # [3] world
    cell: float  # world units


def fuse(seen: Survey, resolution: int, min_alpha: float, truncation: float) -> Field | None:
    """Fuse the depth maps into a signed field; None where no pixel reaches `min_alpha`.

    Args:
        resolution: points along each edge of the cube that holds the object.
        min_alpha: from which opacity a pixel counts as surface.
        truncation: in cells; the field falls from 1 to -1 over this far each side of a surface.
    """
    bounds = _bounds(seen, min_alpha)
    if bounds is None:
        return None
    low, high = bounds
    margin = truncation + 2.0
    cell = float((high - low).max()) / (resolution - 1 - 2.0 * min(margin, resolution / 4))
    cell = max(cell, 1e-6)
    origin = 0.5 * (low + high) - 0.5 * (resolution - 1) * cell

    maps = torch.stack(_depth_and_facing(seen, min_alpha, MIXED * truncation * cell), -1)
    cameras = seen.views.Ks @ seen.views.viewmats[:, :3]
    values = _fused(
        np.ascontiguousarray(maps.cpu().numpy(), np.float32),
        np.ascontiguousarray(cameras.cpu().numpy(), np.float32),
        origin.numpy().astype(np.float32),
        np.float32(cell),
        np.float32(truncation * cell),
        resolution,
    )
    return Field(values, origin.numpy().astype(np.float64), cell)


def _fused(
    maps: Floats,
    cameras: Floats,
    origin: Floats,
    cell: np.float32,
    truncation: np.float32,
    resolution: int,
) -> Floats:
    """Values at the grid's points: a coarse grid's, and fused anew in blocks near a surface."""
    count = -(-resolution // BLOCK)
    coarse = np.empty((count,) * 3, np.float32)
    every = np.indices(coarse.shape, np.int32).reshape(3, -1).T
    middle = origin + np.float32(0.5 * (BLOCK - 1)) * cell
    wide = np.float32(BLOCK)
    _fuse(maps, cameras, middle, wide * cell, wide * truncation, every, 1, coarse)
    about = np.ones((3, 3, 3))
    near = ndimage.binary_dilation(coarse < OUTSIDE, about)
    near &= ndimage.binary_dilation(coarse > INSIDE, about)
    values = np.ascontiguousarray(np.kron(coarse, np.ones((BLOCK,) * 3, np.float32)))
    blocks = np.argwhere(near).astype(np.int32)
    _fuse(maps, cameras, origin, cell, truncation, blocks, BLOCK, values)
    return np.ascontiguousarray(values[:resolution, :resolution, :resolution])


def _depth_and_facing(seen: Survey, min_alpha: float, mixed: float) -> tuple[Tensor, Tensor]:
    """Depth and facing maps, EMPTY where a camera sees through, UNSURE where two layers mix.

    Where light passes through a gap in one layer to another, the expected depth lies between the
    two. The front one is about a standard deviation nearer, and only what is before it is certain.
    """
    unsure = seen.spread > mixed
    depth = torch.where(unsure, seen.depths - seen.spread, seen.depths)
    empty = seen.alphas < min_alpha
    return torch.where(empty, EMPTY, depth), torch.where(unsure, UNSURE, seen.facing)


def _bounds(seen: Survey, min_alpha: float) -> tuple[Tensor, Tensor] | None:
    """Find the corners of the box around every surface point that a camera sees."""
    surface = seen.alphas >= min_alpha
    if not bool(surface.any()):
        return None
    points = pixel_rays(seen.views.Ks, seen.views.resolution) * seen.depths[..., None]
    camera = surface.nonzero()[:, 0]
    rotation, shift = seen.views.viewmats[:, :3, :3], seen.views.viewmats[:, :3, 3]
    local = points[surface] - shift[camera]
    world = (local[:, None, :] @ rotation[camera])[:, 0]
    return world.amin(0).cpu(), world.amax(0).cpu()


@njit(cache=True, parallel=True, error_model="numpy")
def _fuse(
    maps: Floats,  # [C, R, R, 2] depth (EMPTY where seen through) and facing
    cameras: Floats,  # [C, 3, 4] world to pixels: column * depth, row * depth, depth
    origin: Floats,  # [3]
    cell: np.float32,
    truncation: np.float32,  # world units
    blocks: NDArray[np.int32],  # [B, 3] which blocks of `size` points a side
    size: int,
    values: Floats,  # [X, Y, Z], written in those blocks
) -> None:
    one = np.float32(1.0)
    hidden = np.float32(HIDDEN_WEIGHT / maps.shape[0])
    sharpness = one / truncation
    for b in prange(len(blocks)):
        left, front, low = size * blocks[b, 0], size * blocks[b, 1], size * blocks[b, 2]
        total = np.zeros((size, size, size), np.float32)
        weights = np.zeros_like(total)
        for c in range(maps.shape[0]):
            right, down, ahead = cameras[c, 0], cameras[c, 1], cameras[c, 2]
            for i in range(size):
                x = origin[0] + np.float32(left + i) * cell
                for j in range(size):
                    y = origin[1] + np.float32(front + j) * cell
                    column = right[0] * x + right[1] * y + right[3]
                    row = down[0] * x + down[1] * y + down[3]
                    depth = ahead[0] * x + ahead[1] * y + ahead[3]
                    for k in range(size):
                        z = origin[2] + np.float32(low + k) * cell
                        d = depth + ahead[2] * z
                        u, v = (column + right[2] * z) / d, (row + down[2] * z) / d
                        if d > 0 and 0 <= u < maps.shape[2] and 0 <= v < maps.shape[1]:
                            surface, facing = maps[c, np.int32(v), np.int32(u)]
                            value, weight = _observe(surface, facing, d, sharpness, hidden)
                            total[i, j, k] += value * weight
                            weights[i, j, k] += weight
        for i in range(size):
            for j in range(size):
                for k in range(size):
                    weight = weights[i, j, k]
                    value = total[i, j, k] / weight if weight > 0 else -one
                    values[left + i, front + j, low + k] = value


@njit(cache=True, error_model="numpy", inline="always")
def _observe(surface: Any, facing: Any, depth: Any, sharpness: Any, hidden: Any) -> tuple[Any, Any]:
    """One camera's value for a point, in [-1, 1], and its weight."""
    one, zero = np.float32(1.0), np.float32(0.0)
    if surface == EMPTY:
        return one, one
    if facing == UNSURE:
        return (one, one) if (surface - depth) * sharpness >= one else (-one, hidden)
    # The distance along the ray, times the cosine, is the distance to the surface's plane.
    signed = (surface - depth) * max(facing, np.float32(MIN_FACING)) * sharpness
    if signed >= one:
        return one, one
    if signed >= zero:
        return signed, max(facing, hidden)
    # Behind the surface belief fades out, so that the far side of a thin part is left alone.
    belief = facing * max(one + signed + signed, zero)
    return max(signed, -one), max(belief, hidden)
