"""The benchmark's toys: those that training leaves out and that have a front."""

from toybox.catalogue import CATEGORIES, Toy
from toybox.heldout import Part, heldout_toys, is_heldout


def janus_toys(part: Part | None = None) -> list[Toy]:
    """All of them, or those of one part, in turns: one of each category, then the next of each.

    So the first few are of as many categories as can be; toys of one category tend to fail alike.
    """
    turns: dict[str, int] = {}
    placed = []
    for toy in heldout_toys():
        if CATEGORIES[toy.category].has_front and (part is None or is_heldout(toy, part)):
            turns[toy.category] = turns.get(toy.category, 0) + 1
            placed.append((turns[toy.category], toy))
    return [toy for _, toy in sorted(placed, key=lambda pair: pair[0])]  # a stable sort
