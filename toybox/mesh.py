"""The true surface of a toy, from the signed distances its renders are traced from."""

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from skimage.measure import marching_cubes

from toybox.catalogue import Toy, toy_index
from toybox.geometry import Solid, solid
from toybox.render_kernels import fill_distances
from toybox.render_paint import toy_palette

Float32 = NDArray[np.float32]
HALF_SIDE = 1.0  # of the sampled cube; every toy lies within the ball of radius 0.96


def true_mesh(
    toy: Toy, variation_seed: int | None = None, resolution: int = 128
) -> trimesh.Trimesh:
    """The toy's closed surface in the world frame, with vertex colours (unshaded).

    Args:
        variation_seed: as in `geometry.solid`; None is the mean shape.
        resolution: grid points a side of the cube [-1, 1]^3 that marching cubes (Lorensen and
            Cline 1987; scikit-image's Lewiner variant) run on, at least 16.
    """
    toy_index(toy)  # refuses what is not in the catalogue
    one = solid(toy.category, toy.accessory, variation_seed)
    axis = np.linspace(-HALF_SIDE, HALF_SIDE, resolution, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    field = signed_distance(one, grid.reshape(-1, 3))[0].reshape(grid.shape[:3])
    # bubbles shut in between parts are no part of what one sees
    field[binary_fill_holes(field < 0) & (field > 0)] = -1e-5
    # a surface through a grid point would give triangles of no area, and holes once these go
    field[np.abs(field) < 1e-5] = 1e-5
    vertices, faces, _, _ = marching_cubes(field, 0.0)
    vertices = vertices * (2 * HALF_SIDE / (resolution - 1)) - HALF_SIDE
    nearest = signed_distance(one, vertices.astype(np.float32))[1]
    colours = toy_palette(toy).numpy()[one.slots[nearest]]
    opaque = np.concatenate([colours, np.ones((len(colours), 1))], axis=1)
    return trimesh.Trimesh(
        vertices, faces, vertex_colors=(opaque * 255 + 0.5).astype(np.uint8), process=True
    )


def signed_distance(one: Solid, points: Float32) -> tuple[Float32, NDArray[np.int32]]:
    """Signed distances [K] of points [K, 3] to the toy, negative inside, and the nearest parts [K].

    A lower bound of the true distance outside, up to the ellipsoids' approximation; exact zeros.
    """
    distances = np.empty(len(points), np.float32)
    nearest = np.empty(len(points), np.int32)
    fill_distances(one.rows, np.ascontiguousarray(points), distances, nearest)
    return distances, nearest
