"""What the judge sees from around a toy, as shares of right answers and a count of fronts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from toybox.metrics.pictures import VIEWS

if TYPE_CHECKING:
    from toybox.captions import Parsed
    from toybox.judge import Judge

SAME_FACE_DEG = 45.0  # fronts nearer to one another than this are one front
WIDEST_FACE_DEG = 135.0  # three times the true width; what goes farther round is more than one


def judged_figures(
    judge: Judge,
    asked: Parsed,
    seen: dict[str, Tensor],
    photograph: Callable[[Tensor], Tensor],
    front_views: int,
) -> dict[str, float | None]:
    """All figures that the judge gives, by name; None where the prompt asks nothing.

    A prompt without an accessory asks for none, and the judge has to say so.

    Args:
        asked: what the prompt says; it names a category.
        seen: `judge_views` of azimuth 0, 45, ..., 315.
        photograph: azimuths [V] in degrees to images [B, V, 3, R, R] in [0, 1].
        front_views: azimuths at which fronts are looked for.
    """
    from toybox.catalogue import CATEGORIES

    labels = judge.labels
    answers = {
        "category": (labels.category, asked.category),
        "colour": (labels.colour, asked.colour),
        "accessory": (labels.accessory, asked.accessory or "none"),
        "accessory_colour": (labels.accessory_colour, asked.accessory_colour),
    }
    figures = {
        name: share_named(seen[name], names.index(answer)) if answer in names else None
        for name, (names, answer) in answers.items()
    }
    assert asked.category is not None
    if not CATEGORIES[asked.category].has_front:
        return figures | dict.fromkeys(("view", "view_exact", "multi_face", "frontal"))
    all_round = photograph(torch.arange(front_views) * (360.0 / front_views))
    sides = judge_views(judge, all_round)["view"]
    return figures | {
        "view": share_near(seen["view"], 1),
        "view_exact": share_near(seen["view"], 0),
        "multi_face": float(count_fronts(sides[:, 0]) > 1),
        "frontal": share_named(sides, 0),
    }


def judge_views(judge: Judge, pictures: Tensor) -> dict[str, Tensor]:
    """Probabilities [V, K] by question, averaged over the backgrounds of pictures [B, V, ...]."""
    backgrounds, views = pictures.shape[:2]
    verdict = judge(pictures.flatten(0, 1))
    return {
        name: values.reshape(backgrounds, views, -1).mean(0)
        for name, values in vars(verdict).items()
    }


def share_named(probabilities: Tensor, index: int) -> float:
    """Share of views [V, K] whose most probable answer is `index`."""
    return (probabilities.argmax(1) == index).double().mean().item()


def share_near(probabilities: Tensor, within: int) -> float:
    """Share of views whose most probable arc is at most `within` arcs from the true one.

    Args:
        probabilities: [8, 8]; row k is the view from azimuth 45 k, column j the arc about 45 j.
    """
    true = torch.arange(VIEWS, device=probabilities.device)
    off = (probabilities.argmax(1) - true) % VIEWS
    return torch.minimum(off, VIEWS - off).le(within).double().mean().item()


def count_fronts(probabilities: Tensor) -> int:
    """How many fronts a toy shows: runs of azimuths that look like one, wide runs more than once.

    The probability of "front view" is first averaged with both neighbours, so that a single
    misjudged picture is no front; a run is where the average exceeds one half; runs with less
    than 45 degrees between them are one (two noses beside each other are). A run counts once for
    every 135 degrees begun: a true front is 45 wide, and one all round is three.

    Args:
        probabilities: [F] of "front view" at F even steps of azimuth, a full turn.
    """
    count = len(probabilities)
    step = 360.0 / count
    smooth = sum(torch.roll(probabilities, shift) for shift in (-1, 0, 1)) / 3.0
    frontal = (torch.as_tensor(smooth) > 0.5).nonzero()[:, 0].tolist()
    if not frontal:
        return 0
    # Cut the circle at the first frontal view: every later gap lies between two of them.
    after = [*frontal[1:], frontal[0] + count]
    gaps = [
        (last, first)
        for last, first in zip(frontal, after, strict=True)
        if (first - last) * step >= SAME_FACE_DEG
    ]
    begun = [first for _, first in gaps[-1:] + gaps[:-1]]  # a run begins where the gap before ends
    widths = [(last - first) % count + 1 for (last, _), first in zip(gaps, begun, strict=True)]
    return sum(math.ceil(width * step / WIDEST_FACE_DEG) for width in widths or [count])
