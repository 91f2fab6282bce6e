"""The chamfer of depth maps against closed forms."""

import numpy as np
import pytest
import torch
import trimesh

from benchmarks.claims.depth_chamfer import cloud_gap, depth_chamfer, survey_points
from stabledreamer_core.assets.mesh.views import Survey, pixel_rays, render_survey, sphere
from stabledreamer_core.metrics.alignment import surface_points
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.output import Mesh
from toybox.captions import parse
from toybox.mesh import true_mesh

CPU = torch.device("cpu")
SETTINGS = Mesh(views=16, view_resolution=96)
BALL = trimesh.creation.icosphere(subdivisions=5, radius=0.6)


def flat_gaussians(mesh: trimesh.Trimesh, count: int, shift: tuple[float, ...]) -> Splats:
    """Opaque thin Gaussians on the surface, as optimised: logs and logits."""
    points, faces = trimesh.sample.sample_surface(mesh, count, seed=1)
    normals = torch.tensor(mesh.face_normals[faces], dtype=torch.float32)
    # The shortest turn from +Z to the normal, wxyz.
    quats = torch.stack(
        [1.0 + normals[:, 2], -normals[:, 1], normals[:, 0], torch.zeros(count)], -1
    )
    width = 1.2 * float(mesh.area / count) ** 0.5
    scales = torch.tensor([width, width, 1e-3]).log().expand(count, 3).clone()
    return {
        "means": torch.tensor(points + np.array(shift), dtype=torch.float32),
        "quats": torch.nn.functional.normalize(quats + 1e-6, dim=-1),
        "scales": scales,
        "opacities": torch.full((count,), 4.0),
        "colors": torch.zeros(count, 3),
    }


def test_true_points_are_at_no_distance() -> None:
    assert cloud_gap(surface_points(BALL, 400_000), BALL) < 0.002


def test_a_larger_ball_is_as_far_as_it_is_larger() -> None:
    points = surface_points(BALL, 200_000) * (0.65 / 0.6)
    assert cloud_gap(points, BALL) == pytest.approx(0.05, abs=0.002)


def test_a_shifted_ball_is_half_its_shift_away() -> None:
    # A shift d moves the surface by d |cos| along its normal, whose mean over a sphere is d / 2.
    points = surface_points(BALL, 200_000) + np.array([0.06, 0.0, 0.0])
    assert cloud_gap(points, BALL) == pytest.approx(0.03, abs=0.002)


def test_pixels_of_a_depth_map_lie_on_the_sphere_they_were_computed_from() -> None:
    views, radius = sphere(12, 64), 0.6
    rays = pixel_rays(views.Ks, 64)
    rotation, shift = views.viewmats[:, :3, :3], views.viewmats[:, :3, 3]
    assert torch.allclose(shift[:, :2], torch.zeros(12, 2), atol=1e-5)  # they look at the origin
    # |z ray - shift| = radius in camera space, whose nearer solution is seen.
    a, b = rays.square().sum(-1), (rays * shift[:, None, None]).sum(-1)
    inside = b.square() - a * (shift.square().sum(-1)[:, None, None] - radius**2)
    depths = (b - inside.clamp(min=0).sqrt()) / a
    seen = (inside > 0).float()
    survey = Survey(views, torch.zeros(12, 64, 64, 3), seen, depths, 0 * seen, seen)
    points = survey_points(survey, 0.5)
    assert len(points) == int(seen.sum())
    assert np.linalg.norm(points, axis=1) == pytest.approx(radius, abs=1e-5)
    assert points.mean(0) == pytest.approx(0.0, abs=0.02)  # from all around, so rotations count
    assert rotation.shape == (12, 3, 3)


def test_gaussians_on_a_true_toy_are_near_it_and_a_shift_is_fitted_away() -> None:
    prompt = "a red bunny wearing a cyan scarf"
    toy = parse(prompt).toy
    assert toy is not None
    mesh = true_mesh(toy)
    here, there = (
        depth_chamfer(flat_gaussians(mesh, 4000, shift), prompt, SETTINGS, CPU)
        for shift in ((0.0, 0.0, 0.0), (0.04, 0.0, -0.03))
    )
    assert here is not None and there is not None
    assert here < 0.01
    assert there == pytest.approx(here, abs=0.002)

    # Another toy is far off, and the shift is there before the fit.
    other = depth_chamfer(
        flat_gaussians(mesh, 4000, (0.0, 0.0, 0.0)), "a blue mug on a white cube", SETTINGS, CPU
    )
    assert other is not None and other > 3 * here
    shifted = flat_gaussians(mesh, 4000, (0.04, 0.0, -0.03))
    gap = cloud_gap(survey_points(render_survey(shifted, 16, 96, CPU), 0.5), mesh)
    assert 0.01 < gap < 0.05  # of the length .05, what lies along the normals


def test_what_shows_nothing_has_no_figure() -> None:
    scene = flat_gaussians(BALL, 100, (0.0, 0.0, 0.0))
    scene["opacities"] = torch.full((100,), -9.0)
    assert depth_chamfer(scene, "a red bear", SETTINGS, CPU) is None
