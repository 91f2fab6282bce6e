"""What a UV texture needs: unwrap the mesh, find what each texel shows, fill what lies between."""

import numpy as np
import open3d as o3d
import trimesh
from numpy.typing import NDArray
from scipy import ndimage

from stabledreamer_core.errors import UserError

PADDING = 4  # pixels between the pieces, so that filtering and smaller mip levels mix them less
FEW_FACES = 6000  # so many and fewer are unwrapped in one piece

Floats = NDArray[np.float32]


class NoUnwrapper(UserError):
    """xatlas is not installed."""


def unwrap(mesh: trimesh.Trimesh, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut and flatten the mesh with xatlas.

    Vertices on cuts are doubled, so the result is closed only once equal positions are merged.
    xatlas' time grows with the square of a mesh's faces, so that it gets eight parts.

    Args:
        resolution: of the texture, in pixels a side.

    Returns:
        Each new vertex's original [W], faces [F, 3], uvs [W, 2] in [0, 1] from the upper left.

    Raises:
        NoUnwrapper: xatlas is not installed.
    """
    try:
        import xatlas
    except ImportError as error:
        raise NoUnwrapper(
            "mesh.texture needs the package xatlas: pip install xatlas (on Python 3.14 that takes"
            " a C++ compiler), or set mesh.texture to false for colours on the vertices"
        ) from error
    vertices = np.asarray(mesh.vertices, np.float32)
    normals = np.asarray(mesh.vertex_normals, np.float32)
    atlas = xatlas.Atlas()
    parts = []
    for faces in _parts(mesh):
        part, local = np.unique(faces, return_inverse=True)
        atlas.add_mesh(vertices[part], local.reshape(-1, 3).astype(np.uint32), normals[part])
        parts.append(part)
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = resolution, PADDING, True
    atlas.generate(pack_options=packing)

    pieces = [atlas[index] for index in range(len(parts))]
    starts = np.cumsum([0, *(len(of_part) for of_part, _, _ in pieces)])
    original = [part[piece[0].astype(int)] for part, piece in zip(parts, pieces, strict=True)]
    moved = [piece[1].astype(int) + start for start, piece in zip(starts, pieces, strict=False)]
    uvs = [piece[2] for piece in pieces]
    return np.concatenate(original), np.concatenate(moved), np.concatenate(uvs)


def _parts(mesh: trimesh.Trimesh) -> list[np.ndarray]:
    """Split the faces [F, 3] into the eight octants about their median, if there are many."""
    if len(mesh.faces) <= FEW_FACES:
        return [mesh.faces]
    centres = mesh.triangles_center
    octant = ((centres > np.median(centres, 0)) * (1, 2, 4)).sum(1)
    return [mesh.faces[octant == index] for index in np.unique(octant)]


def texels(faces: np.ndarray, uvs: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the triangle over each pixel [R, R] (-1: none) and its weights there [R, R, 3]."""
    flat = np.concatenate([uvs, np.zeros((len(uvs), 1))], 1).astype(np.float32)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(flat), o3d.core.Tensor(faces.astype(np.uint32)))
    centre = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
    rays = np.zeros((resolution, resolution, 6), np.float32)
    rays[..., 0], rays[..., 1] = centre[None, :], centre[:, None]
    rays[..., 2], rays[..., 5] = 1.0, -1.0
    hits = scene.cast_rays(o3d.core.Tensor(rays))
    face = hits["primitive_ids"].numpy().astype(np.int64)
    face[face == scene.INVALID_ID] = -1
    second_third = hits["primitive_uvs"].numpy()
    first = 1.0 - second_third.sum(-1, keepdims=True)
    return face, np.concatenate([first, second_third], -1)


def interpolate(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> Floats:
    """Mix the values [V, D] of triangles' corners [N, 3] by weights [N, 3]: [N, D] float32."""
    mixed = sum(values[corners[:, k]] * weights[:, k, None] for k in range(3))
    return np.asarray(mixed, np.float32)


def pad(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Give the texels [R, R, 3] between the pieces the colour of the nearest one that is covered.

    Filtering reads a little past the pieces' edges, smaller mip levels much.
    """
    rows, columns = ndimage.distance_transform_edt(
        ~covered, return_distances=False, return_indices=True
    )
    return np.asarray(texture[rows, columns])
