"""What each metric means, in the few words that fit beside it (docs/metrics.md has the rest)."""

from dataclasses import dataclass
from typing import Any

from stabledreamer.runtime.figures import WANTED, direction

GROUPS: dict[str, dict[str, str]] = {
    "Is it what was asked for?": {
        "category": "share of views that show the right kind of thing",
        "colour": "share of views in the right colour",
        "accessory": "share of views with the right accessory",
        "accessory_colour": "share of views with that accessory in its colour",
        "r_precision": "share of views that fit this prompt better than any other listed",
        "clip_score": "how well views and prompt agree, by CLIP",
        "clip_r_precision": "share of views nearer to this prompt than to others, by CLIP",
    },
    "Does it have one front?": {
        "view": "share of views that look as seen from there, give or take 45°",
        "view_exact": "share of views that look as seen from exactly there",
        "multi_face": "1 if a second face was found, 0 if not",
        "frontal": "share of directions that look like the front; one in eight is right",
        "prior_view": "share of views whose side the prior itself tells",
        "prior_fronts": "share of views the prior calls a front; three in eight are right",
        "prior_front_arcs": "separate fronts that the prior sees; one is right",
        "prior_multi_face": "1 if the prior sees a second face, 0 if not",
        "prior_agreement": "share of views on which prior and judge agree",
    },
    "Is the shape right?": {
        "chamfer": "mean distance to the true surface, in parts of its longest side",
        "f_score": "share of both surfaces within 2 % of each other",
        "normal_consistency": "how well the surfaces' directions agree",
        "volume_ratio": "volume over the true one",
    },
    "Do colour and detail come through?": {
        "colour_error": "difference of mean colours from the true ones",
        "detail": "fine detail over the true thing's: less is blurred, more is noisy",
    },
}
OTHERS = "Other figures"


@dataclass(frozen=True)
class Figure:
    """A metric as the page shows it."""

    name: str
    value: float
    better: str  # "↑", "↓", "→ 1" or nothing
    best: str  # the same in words
    meaning: str

    @property
    def text(self) -> str:
        """Three digits, as in the gallery."""
        return f"{self.value:.3g}"


def grouped(metrics: dict[str, Any]) -> dict[str, list[Figure]]:
    """The figures that apply, under a question each; unknown ones last, without words."""
    known = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    groups = {title: [n for n in names if n in known] for title, names in GROUPS.items()}
    said = {name for names in groups.values() for name in names}
    groups[OTHERS] = [name for name in known if name not in said]
    meanings = {name: words for names in GROUPS.values() for name, words in names.items()}
    return {
        title: [_figure(name, known[name], meanings.get(name, "")) for name in names]
        for title, names in groups.items()
        if names
    }


def _figure(name: str, value: float, meaning: str) -> Figure:
    arrow = direction(name)
    words = {"": "", "↑": "more is better", "↓": "less is better"}
    best = words[arrow] if arrow in words else f"{WANTED[name]:g} is best"
    return Figure(name.replace("_", " "), value, arrow, best, meaning)
