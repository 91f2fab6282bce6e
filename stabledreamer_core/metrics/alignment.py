"""Align two surfaces in size, place and turn about the vertical before they are compared."""

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Points = NDArray[np.float64]

ICP_POINTS = 2000
ICP_STEPS = 40
SMALL_TURNS_DEG = (-30.0, -15.0, 0.0, 15.0, 30.0)
ALL_TURNS_DEG = tuple(np.arange(-180.0, 180.0, 30.0))
EXTRA_TURN_DEG = 15.0  # how far beyond the outermost start a turn may be refined


def align(
    mesh: trimesh.Trimesh, truth: trimesh.Trimesh, turns_deg: tuple[float, ...]
) -> trimesh.Trimesh:
    """Scale, move and turn the mesh about +Z for the best fit to the truth.

    Args:
        turns_deg: turns that the search for the fit starts from; it goes 15 degrees beyond the
            outermost and no further: a mug with its handle at the front must not be forgiven.
    """
    fit = similarity(surface_points(mesh, ICP_POINTS), surface_points(truth, ICP_POINTS), turns_deg)
    return trimesh.Trimesh(apply(fit, np.asarray(mesh.vertices)), mesh.faces, process=False)


def similarity(source: Points, target: Points, turns_deg: tuple[float, ...]) -> NDArray[np.float64]:
    """Find the 4x4 matrix of scale, turn about +Z and shift that fits `source` [N, 3] to `target`.

    Iterated closest points (Besl and McKay 1992) with pairs in both directions: with one alone,
    shrinking to a point would fit best.
    """
    tree = cKDTree(target)
    limit = np.deg2rad(max(abs(turn) for turn in turns_deg) + EXTRA_TURN_DEG)
    best, best_error = np.eye(4), np.inf
    for turn in turns_deg:
        fit, error = _refine(source, target, tree, _first_guess(source, target, turn), limit)
        if error < best_error:
            best, best_error = fit, error
    return best


def apply(fit: NDArray[np.float64], points: Points) -> Points:
    """Transform points [N, 3] by a 4x4 matrix."""
    return points @ fit[:3, :3].T + fit[:3, 3]


def surface_points(mesh: trimesh.Trimesh, count: int) -> Points:
    """Sample `count` points evenly over the surface, always the same ones."""
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
    source: Points, target: Points, tree: cKDTree, fit: NDArray[np.float64], limit: float
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
            np.concatenate([source, source[back]]), np.concatenate([target[there], target]), limit
        )
    return fit, error


def _least_squares(source: Points, target: Points, limit: float) -> NDArray[np.float64]:
    """The best fit of pairs [N, 3] (Umeyama 1991), turned about one axis by `limit` at most.

    What the fit gains by a turn is a cosine of it, so the best turn allowed is the nearest one.
    """
    a, b = source - source.mean(0), target - target.mean(0)
    along = (a[:, :2] * b[:, :2]).sum()
    across = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    angle = np.clip(np.arctan2(across, along), -limit, limit)
    gain = np.cos(angle) * along + np.sin(angle) * across + (a[:, 2] * b[:, 2]).sum()
    scale = max(gain, 0.0) / max((a * a).sum(), 1e-12)
    return _matrix(scale, angle, source.mean(0), target.mean(0))
