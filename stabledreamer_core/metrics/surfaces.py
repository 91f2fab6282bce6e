"""The distance between two surfaces, after size, place and a small turn are taken out."""

from pathlib import Path

import numpy as np
import open3d as o3d
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from stabledreamer_core.errors import UserError
from stabledreamer_core.mesh_glb import from_gltf_axes

Points = NDArray[np.float64]

ICP_POINTS = 2000
ICP_STEPS = 40
SMALL_TURNS_DEG = (-30.0, -15.0, 0.0, 15.0, 30.0)
ALL_TURNS_DEG = tuple(np.arange(0.0, 360.0, 30.0))


def chamfer(
    mesh: trimesh.Trimesh,
    truth: trimesh.Trimesh,
    samples: int,
    turns_deg: tuple[float, ...] = SMALL_TURNS_DEG,
) -> float:
    """Symmetric mean distance between the surfaces, as a share of the truth's longest side.

    The mesh is first scaled, moved and turned about the vertical to fit best. The distance is the
    mean of two means: from points of each surface to the nearest place on the other.

    It does not see colours, nor how much is inside. It is forgiving of thin parts, which have
    little surface; and since the fit is the best one, two different compact lumps are nearer to
    one another than their looks suggest (a ball and a cube: about 0.06).

    Args:
        samples: points on each surface.
        turns_deg: turns about +Z that the search for the fit starts from.
    """
    fit = similarity(_points(mesh, ICP_POINTS), _points(truth, ICP_POINTS), turns_deg)
    moved = trimesh.Trimesh(apply(fit, np.asarray(mesh.vertices)), mesh.faces, process=False)
    there = distances(_points(moved, samples), truth).mean()
    back = distances(_points(truth, samples), moved).mean()
    return float(0.5 * (there + back) / truth.extents.max())


def similarity(source: Points, target: Points, turns_deg: tuple[float, ...]) -> NDArray[np.float64]:
    """The 4x4 matrix of scale, turn about +Z and shift that lays `source` [N, 3] on `target`.

    Iterated closest points (Besl and McKay 1992) with pairs in both directions: with one alone,
    shrinking to a point would fit best.
    """
    tree = cKDTree(target)
    best, best_error = np.eye(4), np.inf
    for turn in turns_deg:
        fit, error = _refine(source, target, tree, _first_guess(source, target, turn))
        if error < best_error:
            best, best_error = fit, error
    return best


def apply(fit: NDArray[np.float64], points: Points) -> Points:
    """Points [N, 3] under a 4x4 matrix."""
    return points @ fit[:3, :3].T + fit[:3, 3]


def distances(points: Points, surface: trimesh.Trimesh) -> NDArray[np.float32]:
    """From each point [N, 3] to the nearest place on the surface."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.array(surface.vertices, np.float32)),
        o3d.core.Tensor(np.array(surface.faces, np.uint32)),
    )
    return scene.compute_distance(o3d.core.Tensor(np.array(points, np.float32))).numpy()


def load_surface(path: Path) -> trimesh.Trimesh | None:
    """The mesh of a GLB in the world frame, without its colours; None if it has no triangles.

    Raises:
        UserError: it cannot be read.
    """
    try:
        meshes = list(trimesh.load_scene(path).geometry.values())
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"{path} cannot be read as a mesh: {error}") from error
    if not meshes:
        return None
    (mesh,) = meshes
    return trimesh.Trimesh(from_gltf_axes(mesh.vertices), mesh.faces)


def _points(mesh: trimesh.Trimesh, count: int) -> Points:
    return np.asarray(trimesh.sample.sample_surface(mesh, count, seed=0)[0], np.float64)


def _first_guess(source: Points, target: Points, turn_deg: float) -> NDArray[np.float64]:
    scale = target.std(0).sum() / max(source.std(0).sum(), 1e-9)
    angle = np.deg2rad(turn_deg)
    return _matrix(scale, angle, source.mean(0), target.mean(0))


def _matrix(scale: float, angle: float, centre: Points, onto: Points) -> NDArray[np.float64]:
    """Scale and turn about +Z so that `centre` [3] comes to lie on `onto` [3]."""
    cos, sin = np.cos(angle), np.sin(angle)
    fit = np.eye(4)
    fit[:3, :3] = scale * np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    fit[:3, 3] = onto - fit[:3, :3] @ centre
    return fit


def _refine(
    source: Points, target: Points, tree: cKDTree, fit: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    error = np.inf
    for _ in range(ICP_STEPS):
        moved = apply(fit, source)
        there_distance, there = tree.query(moved)
        back_distance, back = cKDTree(moved).query(target)
        previous, error = error, float(there_distance.mean() + back_distance.mean())
        if previous - error < 1e-5 * previous:
            break
        fit = _least_squares(
            np.concatenate([source, source[back]]), np.concatenate([target[there], target])
        )
    return fit, error


def _least_squares(source: Points, target: Points) -> NDArray[np.float64]:
    """The best fit of pairs [N, 3] (Umeyama 1991, with the turn held to one axis)."""
    a, b = source - source.mean(0), target - target.mean(0)
    along = (a[:, :2] * b[:, :2]).sum()
    across = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    scale = (np.hypot(along, across) + (a[:, 2] * b[:, 2]).sum()) / max((a * a).sum(), 1e-12)
    return _matrix(scale, np.arctan2(across, along), source.mean(0), target.mean(0))
