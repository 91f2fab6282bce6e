"""Signed distances and rays of the five solids against independent surfaces from trimesh."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from toybox.geometry import Solid
from toybox.geometry_parts import Part, ball, bounding_radius, box, cone, extreme_points, limb, ring
from toybox.mesh import signed_distance
from toybox.render_kernels import FAR, first_hit, normal


def revolved(profile: np.ndarray) -> trimesh.Trimesh:
    """A surface of revolution about z from points (radius, z)."""
    return trimesh.creation.revolve(profile, sections=256)


def arc(radius: float, start_deg: float, end_deg: float, at: tuple[float, float]) -> np.ndarray:
    angle = np.radians(np.linspace(start_deg, end_deg, 65))
    return np.stack([at[0] + radius * np.cos(angle), at[1] + radius * np.sin(angle)], 1)


def sphere() -> tuple[Part, trimesh.Trimesh]:
    return ball("body", (0, 0, 0), 0.5), trimesh.creation.icosphere(subdivisions=5, radius=0.5)


def sharp_box() -> tuple[Part, trimesh.Trimesh]:
    return box("body", (0, 0, 0), (0.4, 0.3, 0.2), 0.0), trimesh.creation.box((0.8, 0.6, 0.4))


def cylinder() -> tuple[Part, trimesh.Trimesh]:
    part = cone("body", (0, 0, -0.3), (0, 0, 0.3), 0.25, 0.25, edge=0.0)
    return part, trimesh.creation.cylinder(0.25, 0.6, sections=256)


def slanted() -> tuple[Part, trimesh.Trimesh]:
    part = cone("body", (0, 0, -0.3), (0, 0, 0.3), 0.4, 0.15, edge=0.0)
    return part, revolved(np.array([(0, -0.3), (0.4, -0.3), (0.15, 0.3), (0, 0.3)]))


def torus() -> tuple[Part, trimesh.Trimesh]:
    mesh = trimesh.creation.torus(0.4, 0.1, major_sections=256, minor_sections=128)
    return ring("body", (0, 0, 0), 0.4, 0.1), mesh


def round_cone() -> tuple[Part, trimesh.Trimesh]:
    # the cone touches both balls where the normal leans up by asin((0.25 - 0.1) / 0.6)
    lean = np.degrees(np.arcsin((0.25 - 0.1) / 0.6))
    lower, upper = arc(0.25, -90, lean, (0, -0.3)), arc(0.1, lean, 90, (0, 0.3))
    part = limb("body", (0, 0, -0.3), (0, 0, 0.3), 0.25, 0.1)
    return part, revolved(np.concatenate([lower, upper]))


MAKERS = [sphere, sharp_box, cylinder, slanted, torus, round_cone]


def alone(part: Part) -> Solid:
    """A solid of one part, as geometry.py would lay it out."""
    row = np.zeros((1, 18), np.float32)
    row[0, 0], row[0, 1:4], row[0, 4:13] = part.kind, part.centre, part.rotation.ravel()
    row[0, 13 : 13 + len(part.sizes)] = part.sizes
    row[0, 17] = bounding_radius(part)
    return Solid(row, np.zeros(1, np.int32))


@pytest.mark.parametrize("make", MAKERS)
def test_distance_is_that_to_the_true_surface(make) -> None:
    part, mesh = make()
    surface = mesh.sample(120_000, seed=0)
    points = np.random.default_rng(1).uniform(-0.8, 0.8, (4_000, 3)).astype(np.float32)
    got, _ = signed_distance(alone(part), points)
    want, _ = cKDTree(surface).query(points)
    assert np.abs(np.abs(got) - want).max() < 0.02  # the samples' spacing
    assert np.abs(np.abs(got) - want).mean() < 0.002
    # the share of the cube's points that lie inside is the mesh's share of its volume
    assert (got < 0).mean() == pytest.approx(mesh.volume / 1.6**3, abs=0.02)


@pytest.mark.parametrize("make", MAKERS)
def test_rays_stop_on_the_surface_and_normals_are_its_gradient(make) -> None:
    part, _ = make()
    one = alone(part)
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        origin = generator.normal(size=3)
        origin *= 2.0 / np.linalg.norm(origin)
        target = generator.uniform(-0.3, 0.3, 3)
        direction = (target - origin) / np.linalg.norm(target - origin)
        o, d = origin.astype(np.float32), direction.astype(np.float32)
        t, k = first_hit(one.rows, 1, *o, *d)
        along = origin + np.linspace(0.5, 3.5, 600)[:, None] * direction
        nearest = signed_distance(one, along.astype(np.float32))[0]
        if t >= FAR:
            assert nearest.min() > -5e-3 and k == -1
            continue
        hits += 1
        point = (origin + float(t) * direction).astype(np.float32)
        assert abs(signed_distance(one, point[None])[0][0]) < 5e-3
        before = np.linspace(0.5, float(t) - 0.01, 300)[:, None] * direction + origin
        assert signed_distance(one, before.astype(np.float32))[0].min() > -1e-3
        n = np.array(normal(one.rows[0], *point))
        assert np.linalg.norm(n) == pytest.approx(1.0, abs=1e-3)
        assert n @ direction < 0.05
    assert hits > 100


@pytest.mark.parametrize(
    "part",
    [
        ball("body", (0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (20, 30, 40)),
        limb("body", (0.3, 0, 0), (-0.2, 0.4, 0.1), 0.1, 0.2),
        box("body", (0, 0.1, 0), (0.3, 0.2, 0.1), 0.05, (10, 20, 30)),
        cone("body", (0, 0, 0), (0.3, 0.3, 0.4), 0.3, 0.1, 0.04),
        ring("body", (0.1, 0, 0), 0.3, 0.08, (1, 1, 0), 0.05),
    ],
)
def test_extreme_points_lie_on_the_surface_and_within_the_bounding_ball(part: Part) -> None:
    points = extreme_points(part)
    assert np.abs(signed_distance(alone(part), points.astype(np.float32))[0]).max() < 0.02
    reach = np.linalg.norm(points - part.centre, axis=1).max()
    assert reach <= bounding_radius(part) + 1e-6
