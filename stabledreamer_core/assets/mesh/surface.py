"""From a signed field to a closed mesh: floaters off, cavities filled, smoothed, simplify."""

import numpy as np
import open3d as o3d
import trimesh
from scipy import ndimage
from skimage.measure import marching_cubes

from stabledreamer_core.assets.mesh.field import Field

BLUR_CELLS = 0.6  # takes the depth maps' pixel steps out of the field
TAUBIN_SHRINK, TAUBIN_GROW = 0.5, 0.53  # Taubin (1995): the pair keeps the volume


def extract_surface(
    field: Field, smoothing: int, faces: int, min_component: float
) -> trimesh.Trimesh | None:
    """Mesh the surface where the field is 0, closed and facing outwards.

    Args:
        smoothing: Taubin steps.
        faces: simplify to about this many triangles; 0 keeps all.
        min_component: drop pieces below this share of the largest piece's volume.

    Returns:
        The mesh, or None if nothing is inside.
    """
    values = clean_field(ndimage.gaussian_filter(field.values, BLUR_CELLS), min_component)
    if not (values < 0).any():
        return None
    corners, triangles, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")
    mesh = trimesh.Trimesh(corners * field.cell + field.origin, triangles, process=True)
    if smoothing:
        trimesh.smoothing.filter_taubin(mesh, TAUBIN_SHRINK, TAUBIN_GROW, iterations=smoothing)
    return simplify(mesh, faces)


def clean_field(values: np.ndarray, min_component: float) -> np.ndarray:
    """Remove floaters and inner cavities; make the border outside and no value exactly 0."""
    values = values.astype(np.float32, copy=True)
    for axis in range(3):
        for face in (0, -1):
            np.moveaxis(values, axis, 0)[face] = 1.0
    # An exact 0 at a grid point makes triangles without area.
    values[np.abs(values) < 1e-3] = 1e-3

    pieces, count = ndimage.label(values < 0)
    if count:
        volumes = np.bincount(pieces.ravel(), minlength=count + 1)
        floaters = volumes < min_component * volumes[1:].max()
        floaters[0] = False
        dropped = floaters[pieces]
        values[dropped] = -values[dropped]
    spaces, _ = ndimage.label(values > 0, np.ones((3, 3, 3)))
    cavity = (spaces > 0) & (spaces != spaces[0, 0, 0])
    values[cavity] = -values[cavity]
    return values


def simplify(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """Reduce to about `faces` triangles (Garland and Heckbert 1997), if the mesh stays closed."""
    if not faces or len(mesh.faces) <= faces:
        return mesh
    fine = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices), o3d.utility.Vector3iVector(mesh.faces)
    )
    coarse = fine.simplify_quadric_decimation(faces)
    result = trimesh.Trimesh(np.asarray(coarse.vertices), np.asarray(coarse.triangles))
    return result if result.is_watertight else mesh
