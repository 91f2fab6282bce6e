"""How far an asset's visible surface is from the true toy's, from depth maps: no mesh, no open3d.

Not the published chamfer, which is of meshes (stabledreamer_core/metrics/surfaces.py): here the
asset's surface is what the meshing's depth maps see of its Gaussians, before they are fused,
smoothed and freed of floaters. The fit that comes first is the same one.

How it misleads: as the mesh's (thin parts count little, size and place do not count); floaters and
fur, which meshing drops, count; pixels at an outline lie between two layers.
"""

import numpy as np
import torch
import trimesh
from scipy.spatial import cKDTree

from stabledreamer_core.assets.mesh.views import Survey, pixel_rays, render_survey
from stabledreamer_core.metrics.alignment import (
    ALL_TURNS_DEG,
    ICP_POINTS,
    SMALL_TURNS_DEG,
    Points,
    apply,
    similarity,
    surface_points,
)
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.output import Mesh
from toybox.captions import parse
from toybox.catalogue import CATEGORIES, all_toys
from toybox.mesh import true_mesh

NAME = "depth_chamfer"
MIN_FACING = 0.25  # cosine: at an outline a pixel averages what is before and behind
MAX_SPREAD = 0.1  # world units: more, and the pixel mixes two layers
SAMPLES = 20000  # measured points on each surface
DENSE = 200_000  # points on the true surface among which the nearest are looked for
CELL = 0.02  # world units: one measured point of the asset a cell, so that every part counts alike


def depth_chamfer(
    splats: Splats, prompt: str, settings: Mesh, device: torch.device
) -> float | None:
    """Mean distance both ways after the fit, as a share of the true toy's longest side.

    Args:
        settings: the views, their resolution and the least opacity of a surface.

    Returns:
        None where the asset shows no surface, or the world has no such toy.
    """
    asked = parse(prompt)
    shape = (asked.category, asked.accessory)  # colours do not change it
    toy = next((toy for toy in all_toys() if (toy.category, toy.accessory) == shape), None)
    survey = render_survey(splats, settings.views, settings.view_resolution, device)
    points = survey_points(survey, settings.min_alpha)
    if toy is None or len(points) < ICP_POINTS // 10:
        return None
    truth = true_mesh(toy)
    turns_deg = SMALL_TURNS_DEG if CATEGORIES[toy.category].has_front else ALL_TURNS_DEG
    fit = similarity(
        _some(thinned(points), ICP_POINTS), surface_points(truth, ICP_POINTS), turns_deg
    )
    return cloud_gap(apply(fit, points), truth) / float(truth.extents.max())


def survey_points(survey: Survey, min_alpha: float) -> Points:
    """World points [N, 3] of every pixel that sees one surface."""
    rays = pixel_rays(survey.views.Ks, survey.depths.shape[-1])
    rotation, shift = survey.views.viewmats[:, :3, :3], survey.views.viewmats[:, :3, 3]
    seen = rays * survey.depths[..., None] - shift[:, None, None, :]
    world = torch.einsum("cij,chwi->chwj", rotation, seen)  # the inverse is the transpose
    sure = (survey.alphas >= min_alpha) & (survey.facing >= MIN_FACING)
    found = world[sure & (survey.spread <= MAX_SPREAD)]
    return np.asarray(found.cpu().numpy(), np.float64)


def cloud_gap(points: Points, truth: trimesh.Trimesh) -> float:
    """Average two mean distances, world units: from points to a surface, and from it to the points.

    The points [N, 3] are thinned for the first. The second cannot be less than about half the
    distance between neighbouring points, of which there are many.
    """
    measured = _some(thinned(points), SAMPLES)
    there = _to_surface(measured, truth)
    back = cKDTree(points).query(surface_points(truth, SAMPLES))[0]
    return float(0.5 * (there.mean() + back.mean()))


def thinned(points: Points) -> Points:
    """One point for each cell of a grid."""
    x, y, z = np.floor(points / CELL).astype(np.int64).T & 0xFFFFF
    _, first = np.unique((x << 40) | (y << 20) | z, return_index=True)
    return points[first]


def _to_surface(points: Points, truth: trimesh.Trimesh) -> Points:
    """Distances [N] to the triangles of the nearest three of many even points of the surface."""
    samples, faces = trimesh.sample.sample_surface(truth, DENSE, seed=0)
    near = faces[cKDTree(samples).query(points, k=3)[1]]  # [N, 3]
    there = np.repeat(points, near.shape[1], axis=0)
    nearest = trimesh.triangles.closest_point(truth.triangles[near.ravel()], there)
    distances: Points = np.linalg.norm(nearest - there, axis=1).reshape(near.shape).min(1)
    return distances


def _some(points: Points, count: int) -> Points:
    if len(points) <= count:
        return points
    return points[np.random.default_rng(0).choice(len(points), count, replace=False)]
