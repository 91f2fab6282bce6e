"""R-Precision: is an asset's own prompt the one, of a whole list, that fits its views best?

Park et al. 2021 (Benchmark for Compositional Text-to-Image Synthesis); DreamFusion (Poole et al.
2022, section 4) took it to views of a 3D asset. They retrieve with CLIP (clip.py does); here the
judge does, which knows the world it judges.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from toybox.judge import Labels

Wish = tuple[str, str, str]  # category, colour, accessory ("none" for none)


def judge_ranks(
    probabilities: dict[str, Tensor], labels: "Labels", own: str, others: Sequence[str]
) -> Tensor | None:
    """Rank [V] of an asset's own prompt among a list, in each view; 1 is first.

    A prompt's score is the judge's probability of its category, its colour and its accessory at
    once: their product, as the judge answers each by itself. A colour alone, or an accessory, is
    thus not enough. An accessory's own colour is left out, because prompts without an accessory
    have none and products of unequal length do not compare.

    How it misleads: over a short list of unlike toys any half-right asset is first; over the whole
    catalogue it is the share of views in which all three answers are right at once. The judge's
    own errors count against the asset.

    Args:
        probabilities: `category`, `colour`, `accessory`, each [V, K] by `labels`.
        own: the asset's prompt.
        others: of `rivals`; those that do not name a category and a colour are left out.

    Returns:
        None where `own` does not name a category and a colour.
    """
    wish = wish_of(own)
    if wish is None:
        return None
    score = joint_log_probability(probabilities, labels, [wish])
    others_wish = sorted({one for one in map(wish_of, others) if one is not None})
    if not others_wish:
        return torch.ones(len(score), dtype=torch.int64, device=score.device)
    return 1 + (joint_log_probability(probabilities, labels, others_wish) >= score).sum(1)


def rivals(own: str, listed: Sequence[str]) -> list[str]:
    """The prompts of a list that ask for something else than `own` does.

    Args:
        listed: an empty list means every category, colour and accessory of Toybox, or nothing
            where `own` names no such toy.
    """
    wish = wish_of(own)
    if not listed and wish is not None:
        listed = catalogue_prompts()
    others = [other for other in dict.fromkeys(listed) if other != own]
    return [other for other in others if wish is None or wish_of(other) != wish]


def r_precision(ranks: Tensor) -> float:
    """Share of views [V] in which the asset's own prompt is first (chance: 1 / prompts)."""
    return ranks.eq(1).double().mean().item()


def joint_log_probability(
    probabilities: dict[str, Tensor], labels: "Labels", wishes: list[Wish]
) -> Tensor:
    """[V, P] log of the probability of each wish's three answers at once."""
    names = (labels.category, labels.colour, labels.accessory)
    parts = []
    for question, known, answers in zip(
        ("category", "colour", "accessory"), names, zip(*wishes, strict=True), strict=True
    ):
        columns = [known.index(answer) for answer in answers]
        parts.append(probabilities[question].double().clamp(min=1e-30).log()[:, columns])
    return torch.stack(parts).sum(0)


def wish_of(prompt: str) -> Wish | None:
    """What a prompt asks for; None where it names no Toybox category or no colour of a toy."""
    from toybox.captions import parse
    from toybox.catalogue import COLOURS

    asked = parse(prompt)
    if asked.category is None or asked.colour not in COLOURS:
        return None
    return asked.category, asked.colour, asked.accessory or "none"


@cache
def catalogue_prompts() -> tuple[str, ...]:
    """One caption for every category, colour and accessory of Toybox."""
    from toybox.captions import caption
    from toybox.catalogue import all_toys

    first = {(toy.category, toy.colour, toy.accessory): toy for toy in reversed(all_toys())}
    return tuple(caption(toy) for toy in reversed(first.values()))
