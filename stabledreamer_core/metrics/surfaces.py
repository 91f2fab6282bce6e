"""Distances between a mesh's surface and the true one, after alignment (alignment.py).

All four metrics are of one fit, so none sees that a toy is too small or off centre; nor do they see
colours.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open3d as o3d
import trimesh
from numpy.typing import NDArray

from stabledreamer_core.assets.mesh.read import read_mesh, world_vertices
from stabledreamer_core.metrics.alignment import SMALL_TURNS_DEG, align

NAMES = ("chamfer", "f_score", "normal_consistency", "volume_ratio")


@dataclass(frozen=True)
class Gaps:
    """Distances and angles from N points of one surface to the nearest places on another."""

    distances: NDArray[np.float32]  # [N]
    cosines: NDArray[np.float32]  # [N] of the angle between the normals, without sign


def surface_metrics(
    mesh: trimesh.Trimesh,
    truth: trimesh.Trimesh,
    samples: int,
    threshold: float,
    turns_deg: tuple[float, ...] = SMALL_TURNS_DEG,
) -> dict[str, float | None]:
    """Compute all four metrics by name; see the functions below for what each means.

    Args:
        samples: points on each surface.
        threshold: of the F-score, as a share of the truth's longest side.
        turns_deg: turns about +Z that the search for the fit starts from.
    """
    moved = align(mesh, truth, turns_deg)
    there, back = gaps(moved, truth, samples), gaps(truth, moved, samples)
    side = float(truth.extents.max())
    return {
        "chamfer": mean_gap(there, back) / side,
        "f_score": f_score(there, back, threshold * side),
        "normal_consistency": normal_consistency(there, back),
        "volume_ratio": volume_ratio(moved, truth),
    }


def chamfer(
    mesh: trimesh.Trimesh,
    truth: trimesh.Trimesh,
    samples: int,
    turns_deg: tuple[float, ...] = SMALL_TURNS_DEG,
) -> float:
    """Compute `mean_gap` of the fitted surfaces, as a share of the truth's longest side."""
    moved = align(mesh, truth, turns_deg)
    there, back = gaps(moved, truth, samples), gaps(truth, moved, samples)
    return mean_gap(there, back) / float(truth.extents.max())


def mean_gap(there: Gaps, back: Gaps) -> float:
    """Average two mean distances: from points of each surface to the other.

    How it misleads: thin parts have little surface, so losing an ear costs little; and since the
    fit is the best one, two different compact lumps are nearer to one another than their looks
    suggest (a ball and a cube: about 0.06 of the cube's side).
    """
    return float(0.5 * (there.distances.mean() + back.distances.mean()))


def f_score(there: Gaps, back: Gaps, threshold: float) -> float:
    """Compute the harmonic mean of precision and recall: each surface's share within `threshold`.

    Knapitsch et al. 2017 (Tanks and Temples, section 4); for single objects Tatarchenko et al.
    2019. 1 is equal. Unlike the chamfer distance it does not care how far off the rest is.

    How it misleads: it is as strict as its threshold is small; an even swelling just below the
    threshold costs nothing, just above it everything.
    """
    precision = float((there.distances < threshold).mean())
    recall = float((back.distances < threshold).mean())
    return 2.0 * precision * recall / max(precision + recall, 1e-12)


def normal_consistency(there: Gaps, back: Gaps) -> float:
    """Average |cos| of the angle between the normals of nearest points, both ways; 1 is equal.

    As in Mescheder et al. 2019 (Occupancy Networks). It sees ripple and bumps that move the
    surface by next to nothing.

    How it misleads: surfaces that have nothing to do with one another still reach about 0.5, the
    mean over random directions; any two closed lumps reach more; without sign, an inside that was
    turned out is not seen.
    """
    return float(0.5 * (there.cosines.mean() + back.cosines.mean()))


def volume_ratio(mesh: trimesh.Trimesh, truth: trimesh.Trimesh) -> float | None:
    """Divide the mesh's volume by the true one; None where either is not closed.

    1 is equal, less is hollow or too thin, more is swollen.

    How it misleads: taken after the fit, which evens out part of what is missing all round; what
    is too much in one place makes up for what is missing in another.
    """
    if not (mesh.is_watertight and truth.is_watertight):
        return None
    return abs(float(mesh.volume)) / abs(float(truth.volume))


def gaps(source: trimesh.Trimesh, target: trimesh.Trimesh, samples: int) -> Gaps:
    """Measure from `samples` even points of one surface to the nearest places on the other."""
    points, faces = trimesh.sample.sample_surface(source, samples, seed=0)
    found = _scene(target).compute_closest_points(_tensor(points))
    offset = found["points"].numpy() - points
    cosines = np.abs((found["primitive_normals"].numpy() * source.face_normals[faces]).sum(1))
    return Gaps(np.linalg.norm(offset, axis=1), cosines.clip(0.0, 1.0))


def load_surface(path: Path) -> trimesh.Trimesh | None:
    """Read a GLB's mesh in the world frame, without its colours; None if it has no triangles.

    Raises:
        UserError: it cannot be read.
    """
    mesh = read_mesh(path)
    if mesh is None:
        return None
    return trimesh.Trimesh(world_vertices(mesh), mesh.faces)


def _scene(surface: trimesh.Trimesh) -> o3d.t.geometry.RaycastingScene:
    scene = o3d.t.geometry.RaycastingScene()
    faces = o3d.core.Tensor(np.array(surface.faces, np.uint32))
    scene.add_triangles(_tensor(surface.vertices), faces)
    return scene


def _tensor(points: NDArray[np.float64]) -> o3d.core.Tensor:
    return o3d.core.Tensor(np.array(points, np.float32))
