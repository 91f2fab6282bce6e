"""Shapes of all toys as arrays of parts: the one description renders and meshes are made from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from toybox import geometry_creatures, geometry_kitchen, geometry_plants, geometry_things
from toybox.catalogue import CATEGORIES, accessories_of
from toybox.geometry_accessories import cube, scarf, top_hat
from toybox.geometry_creatures import Shape, Vary
from toybox.geometry_parts import SLOTS, Part, bounding_radius, extreme_points

# Columns of a part's row: its kind, centre, rotation (row-major), sizes, bounding radius.
KIND, CENTRE, ROTATION, SIZES, BOUND = 0, slice(1, 4), slice(4, 13), slice(13, 17), 17
ROW = 18
MAX_PARTS = 28
RADIUS = 0.9
SEEDS_PER_SET = 1 << 16

Float32 = NDArray[np.float32]

MAKERS: dict[str, Callable[[Vary], Shape]] = {
    "bear": geometry_creatures.bear,
    "bunny": geometry_creatures.bunny,
    "cat": geometry_creatures.cat,
    "penguin": geometry_creatures.penguin,
    "duck": geometry_creatures.duck,
    "snowman": geometry_creatures.snowman,
    "robot": geometry_creatures.robot,
    "fish": geometry_things.fish,
    "car": geometry_things.car,
    "house": geometry_things.house,
    "mushroom": geometry_plants.mushroom,
    "cactus": geometry_plants.cactus,
    "mug": geometry_kitchen.mug,
    "chair": geometry_kitchen.chair,
    "tree": geometry_plants.tree,
    "rocket": geometry_things.rocket,
    "teapot": geometry_kitchen.teapot,
    "cupcake": geometry_kitchen.cupcake,
}
ADDITIONS: dict[str, Callable[[Shape, Vary], list[Part]]] = {
    "top hat": top_hat,
    "scarf": scarf,
    "cube": cube,
}


@dataclass(frozen=True)
class Solid:
    """One toy's shape: rows [P, ROW] float32 as named above, slots [P] int32 into SLOTS."""

    rows: Float32
    slots: NDArray[np.int32]


@dataclass(frozen=True)
class Bank:
    """Many shapes, padded to MAX_PARTS.

    Attributes:
        rows: [G, MAX_PARTS, ROW] float32.
        slots: [G, MAX_PARTS] int32 into SLOTS.
        counts: [G] int32, how many parts each has.
        variations: shapes of one (category, accessory) pair; they lie in a row.
    """

    rows: Float32
    slots: NDArray[np.int32]
    counts: NDArray[np.int32]
    variations: int


@cache
def pairs() -> tuple[tuple[str, str | None], ...]:
    """The (category, accessory) pairs in a bank's order."""
    return tuple((name, accessory) for name in CATEGORIES for accessory in accessories_of(name))


def solid(category: str, accessory: str | None, variation_seed: int | None = None) -> Solid:
    """A toy's shape, centred and scaled to a ball of radius 0.9 (varied: 0.85 to 0.95).

    Args:
        variation_seed: which variation; None, and 0, are the mean shape. The toy under an
            accessory varies the same as the toy without.
    """
    vary = _vary(category, variation_seed)
    shape = MAKERS[category](vary)
    radius = vary(RADIUS, 0.05 / RADIUS)
    parts = shape.parts
    if accessory is not None:
        parts = parts + ADDITIONS[accessory](shape, vary)
    return _fitted(parts, radius)


def bank_seed(shape_seed: int, variation: int) -> int:
    """The variation seed of a bank's shape; variation 0 is the mean shape in every bank."""
    return shape_seed * SEEDS_PER_SET + variation if variation else 0


def geometry_bank(shape_seed: int, variations: int) -> Bank:
    """The shapes of all (category, accessory) pairs, `variations` (1 to 65,536) of each."""
    assert 1 <= variations <= SEEDS_PER_SET
    count = len(pairs()) * variations
    bank = Bank(
        np.zeros((count, MAX_PARTS, ROW), np.float32),
        np.zeros((count, MAX_PARTS), np.int32),
        np.zeros(count, np.int32),
        variations,
    )
    for index in range(count):
        pair, variation = divmod(index, variations)
        one = solid(*pairs()[pair], bank_seed(shape_seed, variation))
        bank.counts[index] = len(one.slots)
        bank.rows[index, : len(one.slots)] = one.rows
        bank.slots[index, : len(one.slots)] = one.slots
    return bank


def _vary(category: str, variation_seed: int | None) -> Vary:
    if not variation_seed:
        return lambda value, spread: value
    generator = np.random.default_rng([variation_seed, list(CATEGORIES).index(category)])
    return lambda value, spread: value * (1.0 + spread * float(generator.uniform(-1.0, 1.0)))


def _fitted(parts: list[Part], radius: float) -> Solid:
    """Move the middle of the bounding box to the origin and scale to the radius."""
    points = np.concatenate([extreme_points(part) for part in parts])
    middle = 0.5 * (points.min(0) + points.max(0))
    scale = radius / np.linalg.norm(points - middle, axis=1).max()
    rows = np.zeros((len(parts), ROW))
    for row, part in zip(rows, parts, strict=True):
        row[KIND] = part.kind
        row[CENTRE] = scale * (part.centre - middle)
        row[ROTATION] = part.rotation.ravel()
        row[SIZES][: len(part.sizes)] = scale * np.array(part.sizes)
        row[BOUND] = scale * bounding_radius(part)
    assert len(parts) <= MAX_PARTS
    slots = np.array([SLOTS.index(part.slot) for part in parts], np.int32)
    return Solid(rows.astype(np.float32), slots)
