"""Geometry against Toybox's true mesh."""

from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from stabledreamer_core.mesh_glb import from_gltf_axes
from toybox.catalogue import Toy
from toybox.mesh import true_mesh

Points = NDArray[np.float64]  # [N, 3] world frame
ALIGN_POINTS = 3000
ALIGN_STEPS = 40
SEED = 0


def truth_points(toy: Toy, count: int) -> Points:
    """Points drawn evenly from the surface of the toy's mean shape."""
    return _sample(true_mesh(toy), count)


def mesh_points(path: Path, count: int) -> Points | None:
    """Points drawn evenly from an asset's mesh.glb, in the world frame; None if it is empty."""
    mesh = trimesh.load(path, force="mesh")
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        return None
    return from_gltf_axes(_sample(mesh, count))


def chamfer(points: Points, truth: Points) -> float:
    """Mean distance from each surface to the other, averaged both ways, after alignment.

    In units of the longest side of the truth's bounding box. The alignment is a similarity
    (rotation, scale, shift), so size and small turns are forgiven; a mirrored or wrong object is
    not. Every toy has its own proportions, and the truth here is the category's mean shape: other
    shapes of the same category differ from it too, so a correct asset does not reach 0.
    """
    aligned = align(points, truth)
    there = cKDTree(truth).query(aligned)[0].mean()
    back = cKDTree(aligned).query(truth)[0].mean()
    side = (truth.max(0) - truth.min(0)).max()
    return float(0.5 * (there + back) / side)


def align(points: Points, truth: Points) -> Points:
    """`points` moved onto `truth` by the similarity that iterated closest points find.

    Starts with equal centres and sizes. Pairs are taken from both sides, because pairs from one
    side alone are satisfied by shrinking (ICP, Besl and McKay 1992; the fit is Umeyama's, 1991).
    """
    rng = np.random.default_rng(SEED)
    fixed = truth[rng.permutation(len(truth))[:ALIGN_POINTS]]
    moved = (points - points.mean(0)) * (_size(truth) / max(_size(points), 1e-12)) + truth.mean(0)
    chosen = rng.permutation(len(points))[:ALIGN_POINTS]
    tree = cKDTree(fixed)
    for _ in range(ALIGN_STEPS):
        few = moved[chosen]
        ours = np.concatenate([few, few[cKDTree(few).query(fixed)[1]]])
        theirs = np.concatenate([fixed[tree.query(few)[1]], fixed])
        matrix, _, _ = trimesh.registration.procrustes(ours, theirs, reflection=False)
        moved = trimesh.transform_points(moved, matrix)
        if np.abs(matrix - np.eye(4)).max() < 1e-6:
            break
    return moved


def _size(points: Points) -> float:
    """Root mean square distance to the centre."""
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def _sample(mesh: trimesh.Trimesh, count: int) -> Points:
    return np.asarray(trimesh.sample.sample_surface(mesh, count, seed=SEED)[0], np.float64)
