"""Colour error and detail: closed forms, and true renders broken in known ways."""

import pytest
import torch

from toybox.catalogue import Toy
from toybox.metrics.colour import colour_error
from toybox.metrics.detail import detail, gaussian_blur
from toybox.metrics.pictures import Cutout, eight_azimuths, true_camera

BEAR = Toy("bear", "red", "top hat", "black")
PENGUIN = Toy("penguin", "pink", "scarf", "brown")
CHAIR = Toy("chair", "white")


def pictures(toy, variation_seed=None, size=128):
    return true_camera(toy, 15.0, variation_seed)(eight_azimuths(), size)


def disc(colour, alpha=1.0, radius=20.0, size=64):
    """Two views of a disc of one colour and opacity."""
    axis = torch.arange(size) - size / 2 + 0.5
    inside = (axis[:, None] ** 2 + axis**2 < radius**2).float() * alpha
    cover = inside.expand(2, 1, size, size)
    return Cutout(torch.tensor(colour)[:, None, None] * cover, cover)


def retouched(cutout, change):
    return Cutout(change(cutout.colour), change(cutout.alpha))


def test_on_puts_a_background_behind_what_is_transparent():
    seen = disc([0.8, 0.2, 0.4], alpha=0.25).on((0.0, 1.0, 0.5))
    assert seen[0, :, 32, 32].tolist() == pytest.approx([0.2, 0.8, 0.475])
    assert seen[0, :, 0, 0].tolist() == [0.0, 1.0, 0.5]


def test_colour_error_is_the_mean_difference_of_mean_colours():
    truth = disc([0.5, 0.5, 0.5])
    assert colour_error(disc([0.6, 0.5, 0.3]), truth) == pytest.approx((0.1 + 0.2) / 3, abs=1e-6)
    assert colour_error(truth, truth) == 0.0


def test_colour_error_sees_neither_size_nor_opacity():
    truth = disc([0.9, 0.1, 0.2])
    assert colour_error(disc([0.9, 0.1, 0.2], alpha=0.3, radius=9.0), truth) < 1e-6


def test_an_invisible_asset_has_no_colour_and_no_detail():
    nothing, truth = disc([0.9, 0.1, 0.2], alpha=0.0), disc([0.9, 0.1, 0.2])
    assert colour_error(nothing, truth) is None
    assert detail(nothing, truth) is None


@pytest.mark.parametrize("toy", [BEAR, PENGUIN, CHAIR])
def test_other_colours_stand_out_from_other_shapes(toy):
    truth = pictures(toy)
    variation = max(colour_error(pictures(toy, seed), truth) for seed in (1, 2))
    other = Toy(toy.category, "green", toy.accessory, toy.accessory_colour)
    assert variation < 0.025
    assert colour_error(pictures(other), truth) > 0.08


@pytest.mark.parametrize("toy", [BEAR, PENGUIN, CHAIR])
def test_detail_falls_with_blur_and_grows_with_noise_alone(toy):
    truth = pictures(toy)
    random = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(truth.colour.shape, generator=random) * truth.alpha
    assert detail(truth, truth) == 1.0
    assert detail(pictures(toy, 1), truth) == pytest.approx(1.0, abs=0.1)
    assert detail(retouched(truth, lambda image: gaussian_blur(image, 1.0)), truth) < 0.2
    assert detail(Cutout((truth.colour + noise).clamp(0, 1), truth.alpha), truth) > 1.3


def test_detail_of_two_discs_is_free_of_their_size():
    """The energy of an outline grows with its length, which the root of the area undoes."""
    small, large = disc([1.0, 1.0, 1.0], radius=15.0), disc([1.0, 1.0, 1.0], radius=28.0)
    assert detail(small, large) == pytest.approx(1.0, abs=0.05)


def test_blur_keeps_sums_and_adds_its_variance():
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1.0
    spread = gaussian_blur(point, 3.0)[0, 0]
    axis = torch.arange(41) - 20.0
    assert spread.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert (spread.sum(0) * axis**2).sum().item() == pytest.approx(9.0, rel=0.05)
    assert torch.allclose(gaussian_blur(torch.full((1, 3, 9, 9), 0.3), 2.0), torch.tensor(0.3))
