"""Renders against projected geometry, closed forms and each other."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from toybox.catalogue import CATEGORIES, COLOURS, Toy
from toybox.geometry_parts import ELLIPSOID, SLOTS
from toybox.mesh import true_mesh
from toybox.render import render, render_with_alpha
from toybox.render_kernels import LIGHT_X, LIGHT_Y, LIGHT_Z
from toybox.render_sheet import contact_sheet
from toybox.scenes import FOV_DEG, Batch, Sampler, toy_batch

RESOLUTION = 96


def ball_batch(
    centre: tuple[float, float, float], radius: float, azimuth_deg: list[float]
) -> Batch:
    """A red ball alone, seen from some directions at 20 degrees of elevation."""
    count = len(azimuth_deg)
    row = torch.zeros(1, 1, 18)
    row[0, 0, 0] = ELLIPSOID
    row[0, 0, 1:4] = torch.tensor(centre)
    row[0, 0, 4:13] = torch.eye(3).flatten()
    row[0, 0, 13:16] = radius
    row[0, 0, 17] = radius
    palette = torch.zeros(count, len(SLOTS), 3)
    palette[:, 0, 0] = 1.0
    return Batch(
        torch.zeros(count, dtype=torch.long),
        torch.zeros(count, dtype=torch.int32),
        palette,
        torch.tensor(azimuth_deg),
        torch.full((count,), 20.0),
        torch.full((count,), 3.2),
        torch.tensor([[0.0, 0.0, 1.0]]).expand(count, 3),
        row,
        torch.zeros(1, 1, dtype=torch.int32),
        torch.ones(1, dtype=torch.int32),
    )


def centroid(weight: Tensor) -> tuple[float, float]:
    """Column and row of the centre of mass, pixel centres at + 0.5."""
    at = torch.arange(weight.shape[-1]) + 0.5
    return float((weight.sum(0) * at).sum() / weight.sum()), float(
        (weight.sum(1) * at).sum() / weight.sum()
    )


def test_a_ball_is_where_the_cameras_project_it() -> None:
    centre = (0.4, 0.3, -0.2)
    batch = ball_batch(centre, 0.05, [0.0, 45.0, 130.0, 270.0])
    alpha = render_with_alpha(batch, RESOLUTION, samples=4).alpha
    views = batch.views(RESOLUTION)
    seen = views.viewmats[:, :3, :3] @ torch.tensor(centre) + views.viewmats[:, :3, 3]
    pixels = (views.Ks @ (seen / seen[:, 2:])[..., None])[..., 0]
    for k in range(4):
        column, row = centroid(alpha[k, 0])
        assert column == pytest.approx(float(pixels[k, 0]), abs=0.05)
        assert row == pytest.approx(float(pixels[k, 1]), abs=0.05)


def test_coverage_and_brightness_of_a_ball_have_their_closed_forms() -> None:
    batch = ball_batch((0, 0, 0), 0.5, [30.0])
    renders = render_with_alpha(batch, RESOLUTION, samples=4)
    focal = 0.5 * RESOLUTION / math.tan(math.radians(FOV_DEG) / 2)
    radius = focal * 0.5 / math.sqrt(3.2**2 - 0.5**2)
    assert float(renders.alpha.sum()) == pytest.approx(math.pi * radius**2, rel=2e-3)
    a, e = math.radians(30), math.radians(20)
    towards = (math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e))
    cosine = towards[0] * LIGHT_X + towards[1] * LIGHT_Y + towards[2] * LIGHT_Z
    middle = renders.images[0, :, 47:49, 47:49].mean((1, 2))
    assert float(middle[0]) == pytest.approx(0.58 + 0.21 * (1 + cosine), abs=2e-3)
    assert float(middle[2]) == 0.0
    assert torch.equal(renders.images[0, :, 0, 0], torch.tensor([0.0, 0.0, 1.0]))


def test_images_are_colours_over_the_background_by_alpha() -> None:
    toy = Toy("cat", "green")
    angles, elevation = torch.tensor([77.0]), torch.tensor([30.0])
    on = [
        render_with_alpha(
            toy_batch(toy, angles, elevation, torch.tensor([3.2]), torch.full((1, 3), shade)), 48
        )
        for shade in (0.0, 1.0)
    ]
    assert torch.equal(on[0].alpha, on[1].alpha)
    torch.testing.assert_close(on[1].images - on[0].images, (1 - on[0].alpha).expand(1, 3, 48, 48))
    assert float(on[0].images.min()) >= 0.0 and float(on[1].images.max()) <= 1.0


@pytest.mark.parametrize("category", CATEGORIES)
def test_silhouettes_match_the_projected_mesh(category: str) -> None:
    toy = Toy(category, "red", "cube", "blue")
    azimuth_deg = torch.tensor([20.0, 160.0, 275.0])
    elevation_deg = torch.tensor([10.0, 40.0, 70.0])
    batch = toy_batch(toy, azimuth_deg, elevation_deg, torch.full((3,), 3.2), torch.zeros(3, 3))
    alpha = render_with_alpha(batch, RESOLUTION).alpha[:, 0]
    vertices = torch.tensor(np.asarray(true_mesh(toy, resolution=64).vertices), dtype=torch.float32)
    views = batch.views(RESOLUTION)
    for k in range(3):
        seen = vertices @ views.viewmats[k, :3, :3].T + views.viewmats[k, :3, 3]
        at = (seen @ views.Ks[k].T / seen[:, 2:])[:, :2]
        rows, columns = torch.nonzero(alpha[k] > 0.25, as_tuple=True)
        box = torch.tensor(
            [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=torch.float32
        )
        want = torch.cat([at.min(0).values, at.max(0).values])
        assert (box - want).abs().max() < 2
        dilated = torch.nn.functional.max_pool2d(alpha[k][None], 3, 1, 1)[0]
        inside = dilated[at[:, 1].long(), at[:, 0].long()]
        assert float((inside > 0).float().mean()) > 0.999


@pytest.mark.parametrize("colour", COLOURS)
def test_a_toys_colour_is_the_commonest_near_it(colour: str) -> None:
    batch = toy_batch(
        Toy("bear", colour),
        torch.tensor([0.0, 180.0]),
        torch.tensor([15.0, 15.0]),
        torch.tensor([3.2, 3.2]),
        torch.zeros(2, 3),
    )
    renders = render_with_alpha(batch, 48)
    table = torch.tensor(list(COLOURS.values())) * 0.8
    for image, alpha in zip(renders.images, renders.alpha, strict=True):
        pixels = image[:, alpha[0] == 1].T
        nearest = torch.cdist(pixels, table).argmin(1)
        assert int(nearest.mode().values) == list(COLOURS).index(colour)


def test_the_same_scene_gives_the_same_bits() -> None:
    sampler = Sampler("cpu", variations=2)
    images = [
        render(sampler.sample(6, torch.Generator().manual_seed(4)), 32, samples=1) for _ in range(2)
    ]
    assert torch.equal(*images)


def test_the_contact_sheet_shows_every_category_from_eight_sides() -> None:
    sheet = contact_sheet(resolution=8)
    assert sheet.shape == (3, 8 * len(CATEGORIES) // 2, 8 * 16)
    assert torch.equal(sheet, contact_sheet(resolution=8))


def test_front_and_back_and_left_and_right_differ_where_a_category_has_a_front() -> None:
    for name, category in CATEGORIES.items():
        azimuth_deg = torch.arange(8) * 45.0
        batch = toy_batch(
            Toy(name, "green"),
            azimuth_deg,
            torch.full((8,), 15.0),
            torch.full((8,), 3.2),
            torch.full((8, 3), 0.5),
        )
        images = render(batch, 48).flatten(1)
        gaps = torch.cdist(images, images) / math.sqrt(images.shape[1])
        gaps += torch.eye(8)
        if category.has_front:
            assert float(gaps.min()) > 0.04, name
