"""What the judge sees: the shares of views that show what the prompt asked for.

The judge is a small network trained on true renders. It can be fooled by what it never saw:
it is lenient about softness, so a high score does not mean a crisp asset. It saw no optimised
asset in training and takes no part in optimisation, so it cannot be optimised against.
"""

import torch
from torch import Tensor

from stabledreamer_core.cameras import around
from stabledreamer_core.gaussians import Splats
from stabledreamer_core.output_config import Evaluate
from stabledreamer_core.rendering import render_chunks
from toybox.catalogue import CATEGORIES, Toy
from toybox.judge import Judge, Judgement, load_judge

VIEWS = 8
DISTANCE, FOV_DEG = 3.2, 40.0  # Toybox's own orbit
GAP_DEG = 45.0  # judged fronts nearer than this belong to one face


def judged(
    splats: Splats, toy: Toy, settings: Evaluate, device: torch.device
) -> dict[str, float | None]:
    """category, colour, accessory, accessory_colour, view, view_exact, multi_face.

    The first six are shares in [0, 1] of eight views, each judged on every background, the
    probabilities averaged. `category` counts "none of these" as wrong. `accessory_colour` is None
    without an accessory. `view` counts a direction within one of eight bins as right, `view_exact`
    the bin itself; they and `multi_face` are None for categories without a front.
    `multi_face` is 1.0 where the judge sees a front in two separate arcs of azimuth (a Janus
    face), else 0.0; an asset that is no toy at all mostly gets 0, so read it beside `category`.
    """
    judge = load_judge(settings.judge, device)
    answers = look(splats, judge, VIEWS, settings, device)
    truth = {
        "category": toy.category,
        "colour": toy.colour,
        "accessory": toy.accessory or "none",
        "accessory_colour": toy.accessory_colour,
    }
    scores: dict[str, float | None] = {}
    for name, value in truth.items():
        labels = getattr(judge.labels, name)
        right = getattr(answers, name).argmax(1) == labels.index(value) if value else None
        scores[name] = None if right is None else right.float().mean().item()
    if not CATEGORIES[toy.category].has_front:
        return scores | {"view": None, "view_exact": None, "multi_face": None}
    off = bins_off(answers.view.argmax(1).cpu())
    ring = look(splats, judge, settings.front_views, settings, device)
    return scores | {
        "view": (off <= 1).float().mean().item(),
        "view_exact": (off == 0).float().mean().item(),
        "multi_face": float(front_arcs(ring.view.argmax(1).cpu() == 0) > 1),
    }


def look(
    splats: Splats, judge: Judge, count: int, settings: Evaluate, device: torch.device
) -> Judgement:
    """The judge's opinion of `count` views around the asset, averaged over the backgrounds."""
    views = around(count, settings.elevation_deg, DISTANCE, FOV_DEG, settings.resolution)
    opinions = []
    for background in settings.backgrounds:
        renders = [r[..., :3] for r, _ in render_chunks(splats, views, background, device)]
        images = torch.cat(renders).clamp(0.0, 1.0).permute(0, 3, 1, 2)
        opinions.append(judge(images))
    names = vars(opinions[0])
    return Judgement(
        **{name: torch.stack([getattr(o, name) for o in opinions]).mean(0) for name in names}
    )


def bins_off(bins: Tensor) -> Tensor:
    """[8] how many bins each judged direction is from that of view 0, 1, ..., going round."""
    return ((bins - torch.arange(len(bins)) + 4) % 8 - 4).abs()


def front_arcs(is_front: Tensor) -> int:
    """In how many separate arcs of a full turn the front is seen; is_front: [views] bool.

    Arcs less than `GAP_DEG` apart are one: a single view that is read wrong splits no face.
    """
    count = len(is_front)
    fronts = is_front.nonzero()[:, 0].tolist()
    gaps = [
        (after - before) % count or count
        for before, after in zip(fronts, fronts[1:] + fronts[:1], strict=True)
    ]
    wide = sum(gap * 360.0 / count > GAP_DEG for gap in gaps)
    return max(wide, 1) if fronts else 0
