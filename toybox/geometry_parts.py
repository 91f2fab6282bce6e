"""The five solids toys are made of, and where on them the surface is.

A part has its own frame; its axis of symmetry, where it has one, is the frame's z. Five kinds:

    ELLIPSOID  sizes: the three radii
    LIMB       sizes: lower radius, upper radius, half the distance between the two end balls
    BOX        sizes: three half sides, radius of the edges (included in the sides)
    CONE       sizes: lower radius, upper radius, half height, radius of the edges (included)
    RING       sizes: radius of the circle, radius of the tube along it, half width along z
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Vector = tuple[float, float, float]

ELLIPSOID, LIMB, BOX, CONE, RING = range(5)

# Colour slots: what a part is painted with. The first ones depend on the toy's colours, the
# others are fixed (scenes.py paints them).
SLOTS = (
    "body dark pale beak spots accessory accessory_dark "
    "black white grey dark_grey yellow orange red pink wood cream green glass brick slate"
).split()


@dataclass(frozen=True)
class Part:
    """One solid: rotation's columns are its axes in the toy's frame."""

    kind: int
    slot: str
    centre: Array
    rotation: Array
    sizes: tuple[float, ...]


def ball(slot: str, centre: Vector, radii: float | Vector, tilt: Vector = (0, 0, 0)) -> Part:
    """A sphere or ellipsoid; `tilt` as in `turned`."""
    sizes = (radii, radii, radii) if isinstance(radii, int | float) else radii
    return Part(ELLIPSOID, slot, np.array(centre, float), turned(tilt), sizes)


def limb(
    slot: str, start: Vector, end: Vector, radius: float, end_radius: float | None = None
) -> Part:
    """A rounded cone around the balls at `start` and `end`."""
    a, b = np.array(start, float), np.array(end, float)
    half = 0.5 * float(np.linalg.norm(b - a))
    top = radius if end_radius is None else end_radius
    return Part(LIMB, slot, 0.5 * (a + b), along(b - a), (radius, top, half))


def box(
    slot: str, centre: Vector, half: Vector, edge: float = 0.03, tilt: Vector = (0, 0, 0)
) -> Part:
    """A box with rounded edges."""
    return Part(BOX, slot, np.array(centre, float), turned(tilt), (*half, edge))


def cone(
    slot: str,
    start: Vector,
    end: Vector,
    radius: float,
    end_radius: float | None = None,
    edge: float = 0.02,
) -> Part:
    """A cylinder or capped cone from `start` to `end`, edges rounded."""
    a, b = np.array(start, float), np.array(end, float)
    half = 0.5 * float(np.linalg.norm(b - a))
    top = radius if end_radius is None else end_radius
    edge = min(edge, half * 0.9, max(min(radius, top), 0.02) * 0.9)
    return Part(CONE, slot, 0.5 * (a + b), along(b - a), (radius, max(top, edge), half, edge))


def ring(
    slot: str,
    centre: Vector,
    radius: float,
    tube: float,
    axis: Vector = (0, 0, 1),
    half_width: float = 0.0,
) -> Part:
    """A torus about `axis`, its tube drawn out by `half_width` to both sides."""
    direction = np.array(axis, float)
    return Part(RING, slot, np.array(centre, float), along(direction), (radius, tube, half_width))


def turned(tilt: Vector) -> Array:
    """Rotation about x, then y, then z, by angles in degrees (right-handed)."""
    x, y, z = (math.radians(angle) for angle in tilt)
    about_x = np.array([[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]])
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_z = np.array([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def along(direction: Array) -> Array:
    """A rotation that takes z to `direction` (not zero)."""
    z = direction / np.linalg.norm(direction)
    helper = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    y = np.cross(z, helper)
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z], axis=1)


def extreme_points(part: Part) -> Array:
    """The part's farthest points [K, 3] in directions all around, in the toy's frame."""
    local = _directions() @ part.rotation
    s = part.sizes
    if part.kind == ELLIPSOID:
        scaled = local * np.array(s)
        points = scaled * np.array(s) / np.linalg.norm(scaled, axis=1, keepdims=True)
    elif part.kind == BOX:
        points = np.sign(local) * (np.array(s[:3]) - s[3]) + s[3] * local
    else:
        up = local[:, 2] >= 0
        flat = local[:, :2] / np.maximum(np.linalg.norm(local[:, :2], axis=1, keepdims=True), 1e-9)
        points = np.empty_like(local)
        if part.kind == LIMB:
            radius = np.where(local @ [0, 0, 2 * s[2]] + s[1] - s[0] >= 0, s[1], -s[0])
            points = local * np.abs(radius)[:, None]
            points[:, 2] += np.where(radius > 0, s[2], -s[2])
        elif part.kind == CONE:
            low = local @ [0, 0, -s[2]] + s[0] * np.linalg.norm(local[:, :2], axis=1)
            high = local @ [0, 0, s[2]] + s[1] * np.linalg.norm(local[:, :2], axis=1)
            top = high >= low
            points[:, :2] = flat * (np.where(top, s[1], s[0]) - s[3])[:, None]
            points[:, 2] = np.where(top, 1, -1) * (s[2] - s[3])
            points += s[3] * local
        else:
            points[:, :2] = flat * s[0]
            points[:, 2] = np.where(up, s[2], -s[2])
            points += s[1] * local
    return np.asarray(part.centre + points @ part.rotation.T)


def bounding_radius(part: Part) -> float:
    """Radius of a ball about the part's centre that holds all of it."""
    s = part.sizes
    if part.kind == ELLIPSOID:
        return max(s)
    if part.kind == LIMB:
        return s[2] + max(s[:2])
    if part.kind == BOX:
        return math.hypot(*(side - s[3] for side in s[:3])) + s[3]
    if part.kind == CONE:
        return math.hypot(max(s[:2]) - s[3], s[2] - s[3]) + s[3]
    return math.hypot(s[0], s[2]) + s[1]


@cache
def _directions() -> Array:
    """Unit vectors: the axes, then a spiral over the sphere."""
    count = 42
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = math.pi * (1 + math.sqrt(5)) * index
    spiral = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], 1)
    return np.concatenate([np.eye(3), -np.eye(3), spiral])
