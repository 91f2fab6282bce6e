"""Whether the verdicts are true: of true toys, and of toys with two fronts, three, or none."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from stabledreamer_core.settings.output import Evaluate
from toybox.catalogue import Toy
from toybox.janus.broken import Pose, blurred, faced, without_front
from toybox.janus.verdicts import verdicts
from toybox.judge import Judge, load_judge
from toybox.metrics.evaluate import photograph
from toybox.metrics.judged import count_fronts, judge_views, share_named
from toybox.metrics.pictures import Camera, true_camera

ENOUGH = 0.95  # agreement with truth
VIEWS = 24  # a step of 15 degrees, on which every pose turns one view into another
POSES: dict[str, tuple[Pose, int]] = {  # and how many fronts it shows
    "true": (lambda azimuth_deg: azimuth_deg, 1),
    "two-faced": (faced(2), 2),
    "three-faced": (faced(3), 3),
    "without a front": (without_front, 0),
}
NAMES = ("one_face", "second_face", "too_frontal", "no_front")
PUBLISHED = "frontal > 1/4"  # docs/claims.md counts by it: two fronts are just not above it

Agreement = dict[str, float]


def truth(fronts: int) -> dict[str, bool]:
    """The right verdicts of a toy with that many fronts."""
    several = dict.fromkeys(("second_face", "too_frontal", PUBLISHED), fronts > 1)
    return {**several, "one_face": fronts == 1, "no_front": fronts == 0}


def agreement(toys: Iterable[Toy], settings: Evaluate) -> dict[str, Agreement]:
    """By kind of toy and verdict, the share of toys of which the verdict is true.

    Each toy is seen as it is, as a variation of other proportions, and blurred, each in all poses.

    Raises:
        UserError: there is no judge, or it is damaged.
    """
    judge = load_judge(settings.judge)
    right: dict[str, dict[str, list[bool]]] = {}
    for toy in toys:
        for look, camera in _looks(toy, settings.elevation_deg):
            sides = _sides(camera, judge, settings)
            for pose, (turned, fronts) in POSES.items():
                # A view of the posed toy is a view of the toy: the judge need not see it again.
                shown = turned(torch.arange(VIEWS) * (360.0 / VIEWS)) * VIEWS / 360.0
                found = _verdicts(sides[shown.round().long()])
                for name, true in truth(fronts).items():
                    kind = right.setdefault(f"{pose}, {look}", {})
                    kind.setdefault(name, []).append(found[name] == true)
    return {
        kind: {name: sum(answers) / len(answers) for name, answers in verdict.items()}
        for kind, verdict in right.items()
    }


def report(found: dict[str, Agreement]) -> tuple[list[str], bool]:
    """A Markdown table of it, and whether every share of the verdicts is enough."""
    columns = (*NAMES, PUBLISHED)
    lines = ["| agreement with truth | " + " | ".join(columns) + " |", "|---" * 6 + "|"]
    for kind, shares in found.items():
        lines.append(f"| {kind} | " + " | ".join(f"{shares[name]:.3f}" for name in columns) + " |")
    return lines, all(kind[name] >= ENOUGH for kind in found.values() for name in NAMES)


def _looks(toy: Toy, elevation_deg: float) -> Iterator[tuple[str, Camera]]:
    yield "as it is", true_camera(toy, elevation_deg)
    yield "another variation", true_camera(toy, elevation_deg, 1)
    yield "blurred", blurred(true_camera(toy, elevation_deg))


def _sides(camera: Camera, judge: Judge, settings: Evaluate) -> Tensor:
    """Probabilities [VIEWS, 8] of the direction that each view shows."""
    azimuths = torch.arange(VIEWS) * (360.0 / VIEWS)
    return judge_views(judge, photograph(camera, azimuths, settings, settings.resolution))["view"]


def _verdicts(sides: Tensor) -> dict[str, bool | None]:
    fronts, frontal = count_fronts(sides[:, 0]), share_named(sides, 0)
    found = verdicts({"multi_face": float(fronts > 1), "frontal": frontal})
    return {**found, PUBLISHED: frontal > 0.25}
