"""The benchmark's prompts, and the rule by which prompts/toybox.yaml was made.

python -m toybox.prompts > prompts/toybox.yaml
"""

from toybox.captions import caption
from toybox.catalogue import COLOURS, Toy
from toybox.heldout import Part, heldout_combinations

HEADER = """\
# The benchmark: 40 prompts whose combination of category, colour and accessory no Toybox prior saw
# in training and no setting was searched on (toybox/heldout.yaml, part test), none chosen by hand.
# One of each of the twelve combinations in the catalogue's order, the accessory in the fourth
# colour after the toy's own in the catalogue; then all again with the seventh; with the second; and
# the first four with the fifth. Made by: python -m toybox.prompts > prompts/toybox.yaml
"""
COUNT = 40
STEPS = (4, 7, 2, 5)  # not 1, whose prompts a search had scored before the parts were split


def toybox_prompts() -> list[str]:
    """`COUNT` held-out prompts by the rule in `HEADER`; the first twelve are one of each."""
    return heldout_prompts("test", STEPS)[:COUNT]


def heldout_prompts(part: Part, steps: tuple[int, ...]) -> list[str]:
    """All combinations of a part, with accessories so many colours after the toy's own."""
    colours = list(COLOURS)
    return [
        caption(Toy(category, colour, accessory, later))
        for step in steps
        for category, colour, accessory in heldout_combinations(part)
        for later in (colours[(colours.index(colour) + step) % len(colours)],)
    ]


def toybox_yaml() -> str:
    """The text of prompts/toybox.yaml."""
    return HEADER + "prompts:\n" + "".join(f"  - {prompt}\n" for prompt in toybox_prompts())


if __name__ == "__main__":
    print(toybox_yaml(), end="")
