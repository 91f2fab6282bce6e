"""A UV texture for the mesh: unwrap it, then look up the colour of each texel."""

import numpy as np
import open3d as o3d
import trimesh
from scipy import ndimage

from stabledreamer_core.assets.mesh.color import colors_at
from stabledreamer_core.assets.mesh.glb import Surface
from stabledreamer_core.assets.mesh.views import Survey
from stabledreamer_core.errors import UserError

PADDING = 2  # pixels between the pieces, so that filtering does not mix them


def bake_texture(mesh: trimesh.Trimesh, seen: Survey, tolerance: float, resolution: int) -> Surface:
    """Unwrap the mesh and bake its colours into a `resolution` x `resolution` texture.

    Vertices on cuts are doubled, so the result has more vertices than `mesh` and is closed only
    once equal positions are merged.

    Args:
        tolerance: see `colors_at`.

    Raises:
        UserError: xatlas is not installed.
    """
    original, faces, uvs = _unwrap(mesh, resolution)
    vertices = np.asarray(mesh.vertices)[original]
    normals = np.asarray(mesh.vertex_normals)[original]

    face, weights = _texels(faces, uvs, resolution)
    covered = face >= 0
    corners = faces[face[covered]]
    points = (weights[covered][..., None] * vertices[corners]).sum(1)
    towards = (weights[covered][..., None] * normals[corners]).sum(1)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True).clip(1e-9)
    texture = np.zeros((resolution, resolution, 3))
    texture[covered] = colors_at(points, towards, seen, tolerance)
    # Between the pieces, the nearest piece's colour: filtering reads a little past the edges.
    rows, columns = ndimage.distance_transform_edt(
        ~covered, return_distances=False, return_indices=True
    )
    texture = np.rint(texture[rows, columns] * 255.0).astype(np.uint8)
    return Surface(vertices, normals, faces, uvs=uvs, texture=texture)


def _unwrap(mesh: trimesh.Trimesh, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut and flatten with xatlas: each new vertex's original [W], faces [F, 3], uvs [W, 2]."""
    try:
        import xatlas
    except ImportError as error:
        raise UserError(
            "mesh.texture needs the package xatlas: pip install xatlas (on Python 3.14 that takes"
            " a C++ compiler), or set mesh.texture to false for colours on the vertices"
        ) from error
    atlas = xatlas.Atlas()
    atlas.add_mesh(
        np.asarray(mesh.vertices, np.float32),
        np.asarray(mesh.faces, np.uint32),
        np.asarray(mesh.vertex_normals, np.float32),
    )
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = resolution, PADDING, True
    atlas.generate(pack_options=packing)
    original, faces, uvs = atlas[0]
    return original.astype(int), faces.astype(int), uvs


def _texels(faces: np.ndarray, uvs: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
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
