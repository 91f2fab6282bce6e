"""The sampler's distribution and determinism."""

import pytest
import torch

from toybox.catalogue import CATEGORIES, all_toys, toy_index
from toybox.geometry_parts import SLOTS
from toybox.heldout import heldout_toys, is_heldout
from toybox.render_paint import toy_palette
from toybox.scenes import Batch, Sampler, toy_batch


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler("cpu", variations=4)


@pytest.fixture(scope="module")
def batch(sampler: Sampler) -> Batch:
    return sampler.sample(40_000, torch.Generator().manual_seed(0))


def test_training_scenes_never_hold_a_heldout_toy(batch: Batch) -> None:
    toys = all_toys()
    assert not any(is_heldout(toys[index]) for index in batch.toy_index.unique().tolist())


def test_heldout_scenes_hold_nothing_else() -> None:
    scenes = Sampler("cpu", variations=1, split="heldout").sample(
        20_000, torch.Generator().manual_seed(0)
    )
    assert set(scenes.toy_index.tolist()) == {toy_index(toy) for toy in heldout_toys()}


def test_categories_and_accessories_come_as_often_as_documented(batch: Batch) -> None:
    toys = [all_toys()[index] for index in batch.toy_index.tolist()]
    total = sum(1.5 if category.wears else 1.0 for category in CATEGORIES.values())
    for name, category in CATEGORIES.items():
        mine = [toy for toy in toys if toy.category == name]
        share = (1.5 if category.wears else 1.0) / total
        assert len(mine) / len(toys) == pytest.approx(share, rel=0.1)
        plain = sum(toy.accessory is None for toy in mine) / len(mine)
        assert plain == pytest.approx(0.25 if category.wears else 0.4, abs=0.04)


def test_cameras_and_backgrounds_are_spread_as_documented(batch: Batch) -> None:
    histogram = torch.histc(batch.azimuth_deg, 8, 0, 360) / len(batch)
    assert (histogram - 1 / 8).abs().max() < 0.01
    assert float(batch.elevation_deg.min()) >= -10 and float(batch.elevation_deg.max()) <= 85
    assert float((batch.elevation_deg > 45).float().mean()) == pytest.approx(0.15, abs=0.01)
    assert float(batch.distance.min()) >= 3.0 and float(batch.distance.max()) <= 3.4
    grey = (batch.background.std(1) == 0).float().mean()
    assert float(grey) == pytest.approx(0.5, abs=0.02)
    assert float(batch.background.min()) >= 0 and float(batch.background.max()) <= 1


def test_one_seed_one_batch(sampler: Sampler) -> None:
    first, again = (sampler.sample(50, torch.Generator().manual_seed(9)) for _ in range(2))
    other = sampler.sample(50, torch.Generator().manual_seed(10))
    assert torch.equal(first.toy_index, again.toy_index)
    assert torch.equal(first.background, again.background)
    assert torch.equal(first.palettes, again.palettes)
    assert not torch.equal(first.toy_index, other.toy_index)


def test_palettes_and_shapes_are_those_of_the_toy(sampler: Sampler, batch: Batch) -> None:
    for k in range(0, 200, 10):
        toy = all_toys()[int(batch.toy_index[k])]
        torch.testing.assert_close(batch.palettes[k], toy_palette(toy))
        slots = {SLOTS[s] for s in batch.slots[batch.geometry[k]].tolist()}
        assert ("accessory" in slots) == (toy.accessory is not None)


def test_one_toys_scenes_are_as_the_samplers(sampler: Sampler, batch: Batch) -> None:
    toy = all_toys()[1234]
    few = sampler.sample(3, torch.Generator().manual_seed(0))
    swapped = sampler.scene_of(toy, 0, few)
    alone = toy_batch(
        toy, few.azimuth_deg, few.elevation_deg, few.distance, few.background, variation_seed=None
    )
    torch.testing.assert_close(swapped.palettes, alone.palettes)
    count = int(alone.counts[0])
    torch.testing.assert_close(swapped.rows[swapped.geometry[0], :count], alone.rows[0])
