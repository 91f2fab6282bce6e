"""Noise on the object: independent and standard normal in each view, alike between views."""

import pytest
import torch
from torch import Tensor

from stabledreamer_core.distillation.object_noise import object_noise
from stabledreamer_core.scene.cameras import Views, orbit

SIDE, GRID, N = 64, 32, 20_000


def on_a_ball(n: int = N) -> Tensor:
    points = torch.randn(1, n, 3, generator=torch.Generator().manual_seed(1))
    return 0.7 * points / points.norm(dim=-1, keepdim=True)


def depths(views: Views) -> tuple[Tensor, Tensor]:
    """Depth along the axis and alpha [V, SIDE, SIDE, 1] of the ball, by hand."""
    pixel = torch.arange(SIDE) + 0.5
    v, u = torch.meshgrid(pixel, pixel, indexing="ij")
    found = []
    for viewmat, K in zip(views.viewmats, views.Ks, strict=True):
        ray = torch.stack(
            [(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], torch.ones_like(u)], -1
        )
        centre = viewmat[:3, 3]
        a, b, c = (ray**2).sum(-1), ray @ centre, centre @ centre - 0.7**2
        found.append((b - (b * b - a * c).clamp(min=0).sqrt()) / a * (b * b > a * c))
    depth = torch.stack(found)[..., None]
    return depth, (depth > 0).float()


def draw(azimuths: list[float], seeds: list[int], fresh_seed: int = 5) -> Tensor:
    count = len(seeds)
    each = len(azimuths) // count
    azimuth = torch.tensor(azimuths)
    views = orbit(
        azimuth, torch.full_like(azimuth, 15.0), torch.full_like(azimuth, 3.2), 40.0, SIDE
    )
    depth, alphas = depths(views)
    random = torch.Generator().manual_seed(fresh_seed)
    fresh = torch.randn(count * each, 4, GRID, GRID, generator=random)
    means = on_a_ball().expand(count, -1, -1)
    return object_noise(means, views, depth, alphas, fresh, seeds, "stage2")


def inside(noise: Tensor) -> Tensor:
    """The middle of the ball: in every pixel there are centres."""
    return noise[..., 11:21, 11:21]


def test_each_view_is_standard_normal_and_white() -> None:
    drawn = torch.stack([draw([40.0], [seed], seed) for seed in range(40)])
    assert float(drawn.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(drawn.std()) == pytest.approx(1.0, abs=0.01)
    for moved in (drawn.roll(1, -1), drawn.roll(1, -2), drawn.roll(1, -3)):
        assert float((drawn * moved).mean()) == pytest.approx(0.0, abs=0.01)
    assert float((drawn**4).mean()) == pytest.approx(3.0, abs=0.1)


def test_one_camera_twice_sees_one_noise_and_the_far_side_another() -> None:
    same = inside(draw([40.0, 40.0], [3]))
    assert torch.equal(same[0], same[1])
    front, back = inside(draw([0.0, 180.0], [3]))
    assert float((front * back).mean()) == pytest.approx(0.0, abs=0.1)


def test_near_views_agree_where_they_see_the_same_place() -> None:
    def alike(apart: float) -> float:
        first, second = inside(draw([40.0, 40.0 + apart], [3]))
        return float((first * second).mean())

    # a turn by 2 degrees moves the middle of the ball by .3 pixels of the grid, 12 by two
    assert alike(0.5) > 0.8 > alike(2.0) > 0.4 and abs(alike(12.0)) < 0.15


def test_a_turned_ball_carries_its_noise_along() -> None:
    """The noise of a pixel's place is found again in another view, at that place."""
    first, second = draw([40.0, 52.0], [3])
    best = max(
        (float((inside(first) * inside(second.roll(shift, -1))).mean()), shift)
        for shift in range(-6, 7)
    )
    assert best[0] > 0.3 and abs(best[1]) in (1, 2, 3)


def test_objects_of_a_batch_have_noise_of_their_own_seeds() -> None:
    both = draw([10.0, 70.0, 10.0, 70.0], [3, 4])
    assert torch.equal(inside(both[:2]), inside(draw([10.0, 70.0], [3])))
    assert float((inside(both[0]) * inside(both[2])).mean()) == pytest.approx(0.0, abs=0.1)


def test_where_no_object_is_the_noise_is_fresh() -> None:
    fresh = torch.randn(1, 4, GRID, GRID, generator=torch.Generator().manual_seed(5))
    assert torch.equal(draw([40.0], [3])[..., :4, :4], fresh[..., :4, :4])
