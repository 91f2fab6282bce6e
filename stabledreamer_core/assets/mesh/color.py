"""Colours for points on the mesh, gathered from the pictures of the Gaussians."""

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from stabledreamer_core.assets.mesh.views import DISTANCE, Survey

MIN_FACING = 0.15  # more slanted than this a picture is smeared along the surface
FUZZ = 0.04  # world units: so far beyond its outline something in front still tints what is behind
TINTED = 0.02  # what such a pixel counts

Floats = NDArray[np.float32]


def colors_at(points: Floats, normals: Floats, seen: Survey, tolerance: float) -> Floats:
    """Gather the colour that the cameras see at each point.

    Weight each camera by how straight it faces the surface; leave out one that sees something
    nearer, and count one little that sees something nearer close by: soft Gaussians tint what is
    behind their outlines. Give points that no camera sees the colour of the nearest that one does.

    Args:
        points, normals: [M, 3] world; normals of unit length, outwards.
        tolerance: how far behind the depth map a point may lie and still be seen, world units.

    Returns:
        [M, 3] in [0, 1]; mid-grey if nothing is seen at all.
    """
    views = seen.views
    pictures = torch.cat(
        [seen.colors, seen.alphas[..., None], seen.depths[..., None], _nearest_about(seen)], -1
    )
    centres = -(views.viewmats[:, None, :3, 3] @ views.viewmats[:, :3, :3])[:, 0]
    total = np.zeros((len(points), 4), np.float32)
    _gather(
        np.ascontiguousarray(points, np.float32),
        np.ascontiguousarray(normals, np.float32),
        pictures.cpu().numpy(),
        np.ascontiguousarray((views.Ks @ views.viewmats[:, :3]).cpu().numpy()),
        np.ascontiguousarray(centres.cpu().numpy()),
        np.float32(tolerance),
        total,
    )
    weight = total[:, 3]
    known = weight > 1e-3 * TINTED
    if not known.any():
        return np.full((len(points), 3), 0.5, np.float32)
    colors = total[:, :3] / np.maximum(weight, 1e-9)[:, None]
    if not known.all():
        _, nearest = cKDTree(points[known]).query(points[~known])
        colors[~known] = colors[known][nearest]
    return np.asarray(colors.clip(0.0, 1.0))


def _nearest_about(seen: Survey) -> Tensor:
    """Find the least depth within FUZZ of each pixel: [C, R, R, 1]."""
    opaque = torch.where(seen.alphas < 0.5, torch.inf, seen.depths)
    width = max(1, round(FUZZ * float(seen.views.Ks[0, 0, 0]) / DISTANCE))
    near = -opaque[:, None]
    for shape in ((2 * width + 1, 1), (1, 2 * width + 1)):
        padding = (shape[0] // 2, shape[1] // 2)
        near = torch.nn.functional.max_pool2d(near, shape, stride=1, padding=padding)
    return -near[:, 0, ..., None]


@njit(cache=True, parallel=True, error_model="numpy")
def _gather(
    points: Floats,
    normals: Floats,
    pictures: Floats,  # [C, R, R, 6] premultiplied colour, alpha, depth, least depth about
    cameras: Floats,  # [C, 3, 4] world to pixels: column * depth, row * depth, depth
    centres: Floats,  # [C, 3] where the cameras stand
    tolerance: np.float32,
    total: Floats,  # [M, 4] written: weighted sums of premultiplied colour and of alpha
) -> None:
    rows, columns = pictures.shape[1], pictures.shape[2]
    for m in prange(points.shape[0]):
        x, y, z = points[m, 0], points[m, 1], points[m, 2]
        for c in range(pictures.shape[0]):
            dx, dy, dz = centres[c, 0] - x, centres[c, 1] - y, centres[c, 2] - z
            towards = normals[m, 0] * dx + normals[m, 1] * dy + normals[m, 2] * dz
            facing = towards / np.sqrt(dx * dx + dy * dy + dz * dz)
            depth = cameras[c, 2, 0] * x + cameras[c, 2, 1] * y + cameras[c, 2, 2] * z
            depth += cameras[c, 2, 3]
            if facing < MIN_FACING or depth <= 0:
                continue
            right = cameras[c, 0, 0] * x + cameras[c, 0, 1] * y + cameras[c, 0, 2] * z
            down = cameras[c, 1, 0] * x + cameras[c, 1, 1] * y + cameras[c, 1, 2] * z
            u = (right + cameras[c, 0, 3]) / depth - 0.5
            v = (down + cameras[c, 1, 3]) / depth - 0.5
            if not (0 <= u < columns - 1 and 0 <= v < rows - 1):
                continue
            i, j = int(v), int(u)
            nearest = pictures[c, int(v + 0.5), int(u + 0.5)]
            if depth > nearest[4] + tolerance:
                continue
            # Pictures taken straight on count most: there the colours are sharpest.
            weight = facing**4
            slope = FUZZ * np.sqrt(1 - facing * facing) / facing
            if nearest[5] < depth - FUZZ - slope:
                weight *= TINTED
            for di in range(2):
                for dj in range(2):
                    share = (v - i if di else 1 - v + i) * (u - j if dj else 1 - u + j)
                    for channel in range(4):
                        sample = pictures[c, i + di, j + dj, channel]
                        total[m, channel] += weight * share * sample
