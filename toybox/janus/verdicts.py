"""Whether an asset has one face, or what is wrong with it, told from its metrics in run.json."""

from collections.abc import Mapping

# A true front fills .125 of the circle, two fill .25: the middle tells them apart. (That is 2 of
# 8 views, or 5 of 24.) Less than half of a true front is none.
TOO_FRONTAL, NO_FRONT = 0.1875, 0.0625

Verdicts = dict[str, bool | None]


def verdicts(metrics: Mapping[str, float | None]) -> Verdicts:
    """By name; None where it was not measured.

    - second_face: `multi_face`, a second front or one wider than 135 degrees.
    - too_frontal: `frontal` above 3/16 of the views.
    - no_front: `frontal` below 1/16. An asset without a front has no second face either.
    - another_thing: the judge takes fewer than half of the views for the category asked for; such
      an asset may have no face at all.
    - one_face: none of these, of those that were measured.

    How they mislead: a front in the wrong place is one face (see `view`); a wide front is
    too_frontal though it may be one face.
    """
    faces, frontal, category = (metrics.get(name) for name in ("multi_face", "frontal", "category"))
    wrong = {
        "second_face": None if faces is None else faces > 0.5,
        "too_frontal": None if frontal is None else frontal > TOO_FRONTAL,
        "no_front": None if frontal is None else frontal < NO_FRONT,
        "another_thing": None if category is None else category < 0.5,
    }
    return {"one_face": None if frontal is None else not any(wrong.values()), **wrong}
