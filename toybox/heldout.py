"""Toys that training never sees, so that results show composition and not recall.

A combination is (category, colour, accessory kind): "a red bear wearing a top hat" is held out
with top hats of every colour. One combination a category is, which is about 5 % of all toys.
Red bears, bears with top hats and red things with top hats all stay in training.

They are split in two, once: searches for settings score *tune* alone, published claims *test*
alone, so that no p value is of a prompt that a setting was chosen on.
"""

from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import yaml

from toybox.catalogue import CATEGORIES, COLOURS, Toy, all_toys

Combination = tuple[str, str, str]
Part = Literal["tune", "test"]
SEED = 2312
EXAMPLE: Combination = ("bear", "red", "top hat")
# Those on which both stages' first settings were searched, before there was a split.
TUNE = ("bear", "penguin", "robot", "car", "chair", "rocket")
HEADER = """\
# Combinations of category, colour and accessory kind that are kept out of training, with
# accessories of every colour. Drawn by toybox.heldout.draw(); a test checks that it still is so.
# Settings are searched on the part `tune`; claims are published on `test` (docs/benchmark.md).
"""


def draw(seed: int = SEED) -> tuple[Combination, ...]:
    """One combination a category: colours in turn from a shuffle, kinds as even as they can be.

    Wearers share out top hats, scarves and cubes; the others can only stand on a cube. The
    README's example is the bear's.
    """
    generator = np.random.default_rng(seed)
    wearers = [name for name, category in CATEGORIES.items() if category.wears]
    kinds = dict(
        zip(
            [name for name in wearers if name != EXAMPLE[0]],
            generator.permutation(["top hat", "top hat", "scarf", "scarf", "scarf", "cube"]),
            strict=True,
        )
    )
    shuffled = [str(colour) for _ in range(2) for colour in generator.permutation(list(COLOURS))]
    combinations = [EXAMPLE]
    for name in CATEGORIES:
        if name != EXAMPLE[0]:
            combinations.append((name, shuffled.pop(), str(kinds.get(name, "cube"))))
    return tuple(combinations)


@cache
def heldout_combinations(part: Part | None = None) -> tuple[Combination, ...]:
    """The committed list, from heldout.yaml beside this file, or one part of it."""
    entries = yaml.safe_load(files("toybox").joinpath("heldout.yaml").read_text("utf-8"))
    return tuple(
        (entry["category"], entry["colour"], entry["accessory"])
        for entry in entries
        if part in (None, entry["part"])
    )


def is_heldout(toy: Toy, part: Part | None = None) -> bool:
    """Whether training leaves this toy out, and it is of the part."""
    return (toy.category, toy.colour, toy.accessory) in heldout_combinations(part)


@cache
def heldout_toys() -> tuple[Toy, ...]:
    """The toys training leaves out, in the catalogue's order."""
    return tuple(toy for toy in all_toys() if is_heldout(toy))


@cache
def training_toys() -> tuple[Toy, ...]:
    """All other toys, in the catalogue's order."""
    return tuple(toy for toy in all_toys() if not is_heldout(toy))


def as_yaml(combinations: tuple[Combination, ...]) -> str:
    """The text of heldout.yaml."""
    lines = (
        f"- {{category: {category}, colour: {colour}, accessory: {accessory},"
        f" part: {'tune' if category in TUNE else 'test'}}}\n"
        for category, colour, accessory in combinations
    )
    return HEADER + "".join(lines)
