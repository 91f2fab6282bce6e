"""Captions as biased as photographs': view words in few, and some of them wrong."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from stabledreamer_core.distillation.view_prompts import VOCABULARIES
from stabledreamer_core.errors import UserError
from toybox.catalogue import all_toys
from toybox.training.settings import SETTINGS, Captions, load_training
from toybox.training.vocabulary import (
    FIRST_FINE,
    VARIANTS,
    draw_rows,
    view_variants,
    with_wrong_views,
)

N = 40_000


def _scenes(count: int = N) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    azimuth, elevation = torch.rand(2, count, generator=generator)
    toys = torch.randint(len(all_toys()), (count,), generator=generator)
    return toys, 360.0 * azimuth, 85.0 * elevation


def _drawn_before(toys: Tensor, azimuth: Tensor, elevation: Tensor, shares: Captions) -> Tensor:
    """Rows as they were drawn before there was a setting for wrong words."""
    coarse, fine = view_variants(azimuth, elevation)
    kind, empty = torch.rand(2, len(toys), generator=torch.Generator().manual_seed(0))
    variant = torch.where(kind < shares.plain + shares.coarse, coarse, fine)
    variant = torch.where(kind < shares.plain, torch.zeros_like(variant), variant)
    rows = toys.long() * VARIANTS + variant
    return torch.where(empty < shares.empty, len(all_toys()) * VARIANTS, rows)


def _near(found: float, expected: float, trials: int = N) -> None:
    """Within four standard deviations of a binomial share."""
    spread = math.sqrt(expected * (1.0 - expected) / trials)
    assert abs(found - expected) <= 4.0 * spread, (found, expected)


def test_without_wrong_words_training_draws_what_it_drew() -> None:
    shares, generator = load_training(SETTINGS).captions, torch.Generator().manual_seed(0)
    assert shares.wrong == 0.0
    assert torch.equal(draw_rows(*_scenes(), shares, generator), _drawn_before(*_scenes(), shares))
    untouched = torch.Generator().manual_seed(0)
    torch.rand(2, N, generator=untouched)
    assert torch.equal(generator.get_state(), untouched.get_state())


def test_shares_are_those_of_the_settings() -> None:
    shares = Captions(empty=0.1, plain=0.7, coarse=0.2, wrong=0.3)
    toys, azimuth, elevation = _scenes()
    rows = draw_rows(toys, azimuth, elevation, shares, torch.Generator().manual_seed(3))
    empty = rows == len(all_toys()) * VARIANTS
    assert torch.equal(rows[~empty] // VARIANTS, toys[~empty])
    variant = torch.where(empty, -1, rows % VARIANTS)
    coarse, fine = view_variants(azimuth, elevation)
    is_coarse, is_fine = (variant > 0) & (variant < FIRST_FINE), variant >= FIRST_FINE
    right = torch.where(is_coarse, variant == coarse, variant == fine)
    share = {
        "empty": empty,
        "plain": variant == 0,
        "coarse, right": is_coarse & right,
        "coarse, wrong": is_coarse & ~right,
        "fine, right": is_fine & right,
        "fine, wrong": is_fine & ~right,
    }
    expected = (0.1, 0.9 * 0.7, *(0.9 * named * hit for named in (0.2, 0.1) for hit in (0.7, 0.3)))
    for found, wanted in zip(share.values(), expected, strict=True):
        _near(found.double().mean().item(), wanted)


@pytest.mark.parametrize("name", ["four", "eight"])
def test_a_wrong_word_is_any_other_of_its_vocabulary(name: str) -> None:
    words, first = len(VOCABULARIES[name]), 1 if name == "four" else FIRST_FINE
    true = first + 2
    generator = torch.Generator().manual_seed(0)
    drawn = with_wrong_views(torch.full((N,), true), 1.0, generator).tolist()
    counts = Counter(drawn)
    assert set(counts) == set(range(first, first + words)) - {true}
    for count in counts.values():
        _near(count / N, 1 / (words - 1))


def test_captions_without_view_words_stay_without() -> None:
    plain = torch.zeros(100, dtype=torch.long)
    assert torch.equal(with_wrong_views(plain, 1.0, torch.Generator().manual_seed(0)), plain)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("captions.wrong=1.2", "training.captions.wrong"),
        ("captions.wrong=-0.1", "training.captions.wrong"),
        ("captions.plain=0.9", "plain and coarse are 1.15 together"),
    ],
)
def test_shares_that_cannot_be_are_refused(override: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_training(SETTINGS, [override])
