"""Shapes: sizes, variations, banks."""

import numpy as np
import pytest

from toybox.catalogue import CATEGORIES
from toybox.geometry import BOUND, CENTRE, bank_seed, geometry_bank, pairs, solid
from toybox.mesh import signed_distance


@pytest.fixture(scope="module")
def sphere_points() -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(4000, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("pair", pairs(), ids=str)
def test_a_toy_fills_the_ball_it_should(pair, sphere_points) -> None:
    for seed in (None, 3):
        one = solid(*pair, seed)
        assert 5 <= len(one.slots) <= 24
        outside, _ = signed_distance(one, (0.97 * sphere_points).astype(np.float32))
        assert outside.min() > 0
        inner, _ = signed_distance(one, (0.80 * sphere_points).astype(np.float32))
        assert inner.min() < 0.06


def test_variation_is_deterministic_and_mild_and_none_is_the_mean() -> None:
    for category in CATEGORIES:
        mean, zero = solid(category, None), solid(category, None, 0)
        assert np.array_equal(mean.rows, zero.rows)
        varied, again = solid(category, None, 5), solid(category, None, 5)
        assert np.array_equal(varied.rows, again.rows)
        assert not np.array_equal(varied.rows, mean.rows)
        # small parts are turned around by the random angle of spots and sprinkles
        large = mean.rows[:, BOUND] > 0.3
        assert np.abs(varied.rows - mean.rows)[large, CENTRE].max() < 0.35


def test_a_bank_holds_every_pairs_variations_in_a_row() -> None:
    bank = geometry_bank(shape_seed=2, variations=3)
    assert len(bank.counts) == 3 * len(pairs())
    for index in (0, 1, 2, 40, len(bank.counts) - 1):
        pair, variation = divmod(index, 3)
        one = solid(*pairs()[pair], bank_seed(2, variation))
        count = bank.counts[index]
        assert count == len(one.slots)
        assert np.array_equal(bank.rows[index, :count], one.rows)
        assert np.array_equal(bank.slots[index, :count], one.slots)
        assert not bank.rows[index, count:].any()


def test_banks_of_different_seeds_differ_except_in_the_mean_shape() -> None:
    first, second = geometry_bank(0, 2), geometry_bank(1, 2)
    assert np.array_equal(first.rows[::2], second.rows[::2])
    assert not np.array_equal(first.rows[1::2], second.rows[1::2])
