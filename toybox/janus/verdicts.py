"""What is wrong with an asset's faces, told from the metrics in its run.json."""

from collections.abc import Mapping

# A true front fills .125 of the circle, two fill .25: the middle tells them apart. (That is 2 of
# 8 views, or 5 of 24.) Less than half of a true front is none.
TOO_FRONTAL, NO_FRONT = 0.1875, 0.0625

Verdicts = dict[str, bool | None]


def verdicts(metrics: Mapping[str, float | None]) -> Verdicts:
    """What is wrong, by name; None where it was not measured.

    - second_face: `multi_face`, a second front or one wider than 135 degrees.
    - too_frontal: `frontal` above 3/16 of the views.
    - no_front: `frontal` below 1/16. An asset without a front has no second face either.
    - another_thing: the judge takes fewer than half of the views for the category asked for; such
      an asset may have no face at all.
    """
    faces, frontal, category = (metrics.get(name) for name in ("multi_face", "frontal", "category"))
    return {
        "second_face": None if faces is None else faces > 0.5,
        "too_frontal": None if frontal is None else frontal > TOO_FRONTAL,
        "no_front": None if frontal is None else frontal < NO_FRONT,
        "another_thing": None if category is None else category < 0.5,
    }
