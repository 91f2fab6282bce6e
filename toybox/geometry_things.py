"""Toys with a front but no head to put a hat on: fish, car, house, rocket.

Conventions: geometry_creatures.py.
"""

import math

from toybox.geometry_creatures import Shape, Vary, mirrored
from toybox.geometry_parts import Part, ball, box, cone, limb, ring


def fish(vary: Vary) -> Shape:
    """A goldfish with bulging eyes."""
    length, tall, thick = vary(0.62, 0.08), vary(0.42, 0.12), vary(0.27, 0.1)
    tail, fin = vary(0.36, 0.15), vary(0.3, 0.2)
    parts = [
        ball("body", (0, 0, 0), (length, thick, tall)),
        limb("body", (-length * 0.5, 0, 0), (-length - 0.1, 0, 0), tall * 0.42, 0.08),
        ball("pale", (0.1, 0, -tall * 0.28), (length * 0.72, thick * 0.93, tall * 0.72)),
        *mirrored(
            lambda s: ball(
                "dark", (-length - 0.27, 0, s * 0.2), (0.17, 0.05, tail), (0, -s * 38, 0)
            )
        ),
        ball("dark", (-0.1, 0, tall * 0.95), (0.34, 0.05, fin), (0, -28, 0)),
        ball("dark", (-0.2, 0, -tall * 0.98), (0.16, 0.045, fin * 0.7), (0, 30, 0)),
        *mirrored(
            lambda s: ball(
                "dark", (-0.02, s * thick * 1.15, -0.1), (0.2, 0.04, 0.13), (s * 40, 0, -s * 32)
            )
        ),
        *mirrored(lambda s: ball("white", (length * 0.62, s * thick * 0.68, 0.12), 0.13)),
        *mirrored(lambda s: ball("black", (length * 0.66, s * (thick * 0.68 + 0.08), 0.125), 0.08)),
        ring("pink", (length * 0.98, 0, -0.04), 0.085, 0.05, (1, 0, -0.15)),
    ]
    return Shape(parts)


def car(vary: Vary) -> Shape:
    """A small car: yellow lamps in front, red ones behind."""
    length, wide, cabin = vary(0.95, 0.1), vary(0.46, 0.08), vary(0.30, 0.12)
    wheel, shift = vary(0.22, 0.1), -0.14
    axle = length * 0.6
    parts = [
        box("body", (0, 0, 0), (length, wide, 0.2), 0.09),
        box("glass", (shift, 0, 0.2 + cabin * 0.5), (0.5, wide * 0.86, cabin * 0.62), 0.06),
        box("body", (shift - 0.02, 0, 0.2 + cabin * 1.1), (0.44, wide * 0.88, 0.065), 0.05),
        box("body", (shift - 0.05, 0, 0.2 + cabin * 0.5), (0.055, wide * 0.9, cabin * 0.62), 0.02),
        *(
            cone(
                "black", (x, s * wide * 0.62, -0.2), (x, s * (wide + 0.06), -0.2), wheel, edge=0.05
            )
            for x in (axle, -axle)
            for s in (1.0, -1.0)
        ),
        *(
            cone("grey", (x, -wide - 0.09, -0.2), (x, wide + 0.09, -0.2), wheel * 0.5)
            for x in (axle, -axle)
        ),
        *mirrored(lambda s: ball("yellow", (length, s * wide * 0.66, 0.05), (0.06, 0.11, 0.09))),
        *mirrored(lambda s: box("red", (-length, s * wide * 0.7, 0.06), (0.04, 0.1, 0.07), 0.02)),
        box("dark_grey", (length, 0, 0.03), (0.035, wide * 0.34, 0.08), 0.02),
        box("grey", (length + 0.02, 0, -0.13), (0.06, wide * 0.95, 0.06), 0.04),
        box("grey", (-length - 0.02, 0, -0.13), (0.06, wide * 0.95, 0.06), 0.04),
    ]
    return Shape(parts)


def house(vary: Vary) -> Shape:
    """A cottage: door and windows in front, a window and the chimney at its left."""
    wide, deep, tall = vary(0.60, 0.1), vary(0.48, 0.1), vary(0.38, 0.12)
    chimney = vary(0.36, 0.2)
    # the gable is a cube on its edge; a roof half lies on its upper side, from ridge to eaves
    gable, thick = wide / math.sqrt(2), 0.06
    slab = gable + 0.12
    across, up = 0.5 * wide + (slab - gable - thick) / math.sqrt(2), 0.5 * wide
    up += (2 * thick + gable - slab) / math.sqrt(2)
    parts = [
        box("body", (0, 0, 0), (deep, wide, tall), 0.015),
        box("body", (0, 0, tall), (deep, gable, gable), 0.01, (45, 0, 0)),
        *mirrored(
            lambda s: box(
                "slate",
                (0, s * across, tall + up),
                (deep + 0.12, slab, thick),
                0.02,
                (-s * 45, 0, 0),
            )
        ),
        box("wood", (deep, 0, -tall * 0.4), (0.035, wide * 0.22, tall * 0.6), 0.01),
        ball("yellow", (deep + 0.05, wide * 0.13, -tall * 0.4), 0.03),
        *mirrored(
            lambda s: box("white", (deep, s * wide * 0.62, 0.02), (0.025, 0.155, 0.155), 0.01)
        ),
        *mirrored(
            lambda s: box("glass", (deep + 0.02, s * wide * 0.62, 0.02), (0.02, 0.115, 0.115), 0.01)
        ),
        ball("glass", (deep, 0, tall + wide * 0.35), (0.04, 0.11, 0.11)),
        box("white", (0, wide, 0.02), (0.155, 0.025, 0.155), 0.01),
        box("glass", (0, wide + 0.02, 0.02), (0.115, 0.02, 0.115), 0.01),
        box(
            "brick",
            (-deep * 0.45, wide * 0.5, tall + wide * 0.5 + chimney * 0.4),
            (0.12, 0.12, chimney),
            0.01,
        ),
    ]
    return Shape(parts)


def rocket(vary: Vary) -> Shape:
    """A rocket: porthole and door in front, flame below."""
    fat, tall, fin = vary(0.32, 0.1), vary(0.62, 0.08), vary(0.26, 0.15)

    def make_fin(angle_deg: float) -> Part:
        c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
        reach = fat * 0.8 + fin * 0.5
        return box(
            "pale",
            (reach * c, reach * s, -tall * 0.72),
            (fin * 0.85, 0.045, 0.26),
            0.03,
            (0, 30, angle_deg),
        )

    parts = [
        ball("body", (0, 0, 0), (fat, fat, tall * 1.25)),
        cone("body", (0, 0, -tall), (0, 0, 0), fat * 0.72, fat * 0.99, 0.03),
        cone("pale", (0, 0, tall * 0.72), (0, 0, tall * 1.42), fat * 0.74, 0.03),
        ring("grey", (fat * 0.92, 0, 0.16), 0.14, 0.055, (1, 0, 0.08)),
        ball("glass", (fat * 0.9, 0, 0.16), (0.09, 0.13, 0.13)),
        box("dark", (fat * 0.84, 0, -0.34), (0.07, 0.11, 0.18), 0.03),
        *(make_fin(angle) for angle in (60.0, 180.0, 300.0)),
        cone("dark_grey", (0, 0, -tall - 0.12), (0, 0, -tall + 0.05), fat * 0.72, fat * 0.5, 0.02),
        limb("orange", (0, 0, -tall - 0.16), (0, 0, -tall - 0.46), fat * 0.52, 0.06),
        limb("yellow", (0, 0, -tall - 0.1), (0, 0, -tall - 0.24), fat * 0.56, 0.14),
    ]
    return Shape(parts)
