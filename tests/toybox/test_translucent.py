"""Jelly toys against closed forms and a float64 integral of our own."""

import math

import numpy as np
import pytest
import torch

from tests.toybox.test_render import ball_batch
from toybox.catalogue import Toy
from toybox.geometry import solid
from toybox.geometry_parts import ELLIPSOID, SLOTS
from toybox.render import render_with_alpha
from toybox.render_kernels import fill_distances
from toybox.scenes import Sampler, toy_batch
from toybox.translucent import render_translucent

RESOLUTION = 64
TOY = Toy("bear", "red", "top hat", "black")


def test_through_the_middle_of_a_ball_light_fades_by_its_diameter() -> None:
    batch = ball_batch((0, 0, 0), 0.5, [0.0, 100.0])
    for density in (0.5, 3.0, 12.0):
        renders = render_translucent(batch, RESOLUTION, density, samples=1)
        middle = renders.alpha[:, 0, 31:33, 31:33].mean((1, 2))
        expected = 1.0 - math.exp(-density)  # the diameter is 1
        assert middle.tolist() == pytest.approx([expected] * 2, abs=6e-3)
        picture = renders.images[:, :, 31:33, 31:33].mean((2, 3))
        assert picture[0].tolist() == pytest.approx([expected, 0.0, 1 - expected], abs=6e-3)


def test_alpha_sums_to_the_integral_over_the_ball() -> None:
    """Far away, the sum over pixels of 1 - exp(-density chord) has a closed form."""
    density, radius, distance = 2.0, 0.5, 3.2
    alpha = render_translucent(ball_batch((0, 0, 0), radius, [0.0]), 96, density).alpha
    # by the sine of the angle to the axis, in float64: ring areas in pixels times what they dim
    focal = 48 / math.tan(math.radians(20.0))
    u = np.linspace(0.0, radius / math.sqrt(distance**2 - radius**2), 20001)
    miss = distance * u / np.sqrt(1 + u * u)
    chord = 2.0 * np.sqrt(np.maximum(radius**2 - miss**2, 0.0))
    rings = 2.0 * np.pi * u * focal**2 * (1.0 - np.exp(-density * chord))
    assert float(alpha.sum()) == pytest.approx(float(np.trapezoid(rings, u)), rel=5e-3)


def test_what_is_behind_shines_through_by_what_is_before() -> None:
    """A red ball before a green one, both on the axis of the camera at azimuth 0."""
    batch = ball_batch((0.5, 0, 0), 0.2, [0.0])
    row = batch.rows[0, 0]
    behind = row.clone()
    behind[1] = -0.5
    palette = torch.zeros(1, len(SLOTS), 3)
    palette[0, 0, 0] = palette[0, 1, 1] = 1.0
    level = {"elevation_deg": torch.zeros(1), "background": torch.zeros(1, 3), "palettes": palette}
    two = {
        "rows": torch.stack([row, behind])[None],
        "slots": torch.tensor([[0, 1]], dtype=torch.int32),
        "counts": torch.tensor([2], dtype=torch.int32),
    }
    batch = type(batch)(**{**batch.__dict__, **level, **two})
    density = 3.0
    red, green, blue = (
        render_translucent(batch, RESOLUTION, density).images[0, :, 31:33, 31:33].mean((1, 2))
    )
    dimmed = math.exp(-density * 0.4)
    assert int(row[0]) == ELLIPSOID
    assert float(red) == pytest.approx(1 - dimmed, abs=8e-3)
    assert float(green) == pytest.approx(dimmed * (1 - dimmed), abs=8e-3)
    assert float(blue) == 0.0


def test_a_toy_has_the_optical_depth_of_what_is_inside_it() -> None:
    """Against 2,000 points a ray through the toy's distances, in float64."""
    angles = torch.tensor([30.0])
    scene = toy_batch(TOY, angles, torch.tensor([15.0]), torch.tensor([3.2]), torch.zeros(1, 3))
    density, size = 4.0, 24
    got = render_translucent(scene, size, density, samples=1).alpha[0, 0].double().numpy()

    views = scene.views(size)
    rotation = views.viewmats[0, :3, :3].double().numpy()
    eye = -rotation.T @ views.viewmats[0, :3, 3].double().numpy()
    at = (np.arange(size) + 0.5 - size / 2) / float(views.Ks[0, 0, 0])
    pixels = np.stack([*np.meshgrid(at, at), np.ones((size, size))], -1)
    ways = pixels @ rotation
    ways /= np.linalg.norm(ways, axis=-1, keepdims=True)
    t = 2.2 + 2.0 * (np.arange(2000) + 0.5) / 2000
    points = (eye + t[:, None, None, None] * ways).reshape(-1, 3)
    rows, distances = solid(TOY.category, TOY.accessory, None).rows, np.empty(len(points), "f4")
    fill_distances(rows, points.astype("f4"), distances, np.empty(len(points), np.int64))
    depth = (distances.reshape(len(t), size, size) < 0).sum(0) * (2.0 / 2000) * density
    off = np.abs(got - (1.0 - np.exp(-depth)))
    assert off.mean() < 4e-3
    assert np.quantile(off, 0.98) < 0.05  # the rest grazes a flat face, half a step deep


def test_a_dense_toy_covers_what_a_solid_one_covers() -> None:
    batch = Sampler("cpu", variations=1).sample(8, torch.Generator().manual_seed(0))
    solid_, dense = (
        render_with_alpha(batch, RESOLUTION).alpha,
        render_translucent(batch, RESOLUTION, 500.0).alpha,
    )
    assert float((solid_ - dense).abs().mean()) < 0.015  # half a step of halo
    assert bool((render_translucent(batch, RESOLUTION, 0.0).alpha == 0.0).all())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_cpus_jelly() -> None:
    batch = Sampler("cpu", variations=4).sample(64, torch.Generator().manual_seed(0))
    moved = type(batch)(*(getattr(batch, name).cuda() for name in batch.__dataclass_fields__))
    want, got = (render_translucent(scenes, 64, 4.0) for scenes in (batch, moved))
    assert float((got.alpha.cpu() - want.alpha).abs().max()) < 1e-4
    off = (got.images.cpu() - want.images).abs()
    # Where two parts are equally near, rounding says whose paint a step has.
    assert float((off > 1e-4).double().mean()) < 1e-4
    assert float(off.max()) < 0.05
