"""Things of a kitchen: mug, chair, teapot, cupcake.

Conventions: geometry_creatures.py.
"""

import math

from toybox.geometry_creatures import Shape, Vary, mirrored
from toybox.geometry_parts import Part, ball, box, cone, limb, ring


def mug(vary: Vary) -> Shape:
    """A mug of coffee: handle at its left, a badge in front."""
    radius, tall, handle = vary(0.48, 0.1), vary(0.52, 0.1), vary(0.30, 0.12)
    parts = [
        cone("body", (0, 0, -tall), (0, 0, tall), radius * 0.94, radius, 0.05),
        ring("body", (0, 0, tall), radius - 0.045, 0.055),
        cone("wood", (0, 0, tall - 0.1), (0, 0, tall + 0.015), radius * 0.88, radius * 0.88, 0.005),
        ring("pale", (0, radius + 0.02, 0), handle, 0.09, (1, 0, 0)),
        ball("spots", (radius * 0.9, 0, 0), (0.12, 0.27, 0.27)),
        *mirrored(lambda s: ball("black", (radius + 0.03, s * 0.09, 0.06), (0.045, 0.045, 0.06))),
        limb("black", (radius + 0.02, 0.09, -0.1), (radius + 0.02, -0.09, -0.1), 0.03),
        ring("dark", (0, 0, -tall + 0.06), radius * 0.92, 0.05),
    ]
    return Shape(parts)


def chair(vary: Vary) -> Shape:
    """A chair with a cushion; its back is at the back."""
    wide, deep, tall = vary(0.42, 0.1), vary(0.42, 0.08), vary(0.56, 0.12)
    leg = vary(0.56, 0.12)
    parts = [
        box("body", (0, 0, 0), (deep, wide, 0.075), 0.04),
        ball("pale", (0.03, 0, 0.09), (deep * 0.82, wide * 0.82, 0.085)),
        box(
            "body",
            (-deep + 0.05, 0, 0.07 + tall * 0.68),
            (0.065, wide, tall * 0.46),
            0.05,
            (0, -7, 0),
        ),
        *mirrored(
            lambda s: limb(
                "wood",
                (-deep + 0.08, s * wide * 0.72, 0),
                (-deep + 0.02, s * wide * 0.72, tall * 0.6),
                0.06,
            )
        ),
        *(
            limb(
                "wood",
                (x * (deep - 0.09), y * (wide - 0.08), 0),
                (x * (deep - 0.03), y * (wide - 0.04), -leg),
                0.075,
                0.06,
            )
            for x in (1.0, -1.0)
            for y in (1.0, -1.0)
        ),
        ball(
            "pale",
            (-deep + 0.13, 0, 0.09 + tall * 0.68),
            (0.06, wide * 0.62, tall * 0.28),
            (0, -7, 0),
        ),
    ]
    return Shape(parts, stance=max(deep, wide))


def teapot(vary: Vary) -> Shape:
    """A teapot that pours forwards."""
    fat, tall, handle = vary(0.52, 0.08), vary(0.44, 0.08), vary(0.29, 0.12)
    spout = vary(0.34, 0.2)
    parts = [
        ball("body", (0, 0, 0), (fat, fat, tall)),
        cone("dark", (0, 0, -tall - 0.01), (0, 0, -tall + 0.1), fat * 0.62, fat * 0.6, 0.02),
        limb("body", (fat * 0.6, 0, -0.12), (fat + 0.2, 0, 0.06), 0.16, 0.1),
        limb("body", (fat + 0.2, 0, 0.06), (fat + 0.32, 0, spout), 0.1, 0.08),
        ring("pale", (fat + 0.34, 0, spout + 0.06), 0.075, 0.045, (0.35, 0, 1)),
        ring("dark", (-fat - 0.08, 0, 0.04), handle, 0.08, (0, 1, 0)),
        ball("pale", (0, 0, tall * 0.72), (fat * 0.66, fat * 0.66, 0.22)),
        ring("dark", (0, 0, tall * 0.74), fat * 0.67, 0.04),
        ball("dark", (0, 0, tall * 0.72 + 0.27), 0.11),
    ]
    return Shape(parts)


def cupcake(vary: Vary) -> Shape:
    """A cupcake: cream of the toy's colour, a cherry on top."""
    wide, cup, swirl = vary(0.52, 0.1), vary(0.44, 0.12), vary(0.22, 0.1)
    turn = vary(1.0, 1.0) * 45.0

    def sprinkle(step: int) -> Part:
        angle, row = math.radians(turn + 72 * step), step % 2
        radius = (wide * 1.06, wide * 0.86)[row]
        z = (swirl * 0.55, swirl * 1.75)[row]
        slot = ("spots", "glass", "yellow")[step % 3]
        return ball(slot, (radius * math.cos(angle), radius * math.sin(angle), z), 0.055)

    parts = [
        cone("cream", (0, 0, -cup - 0.1), (0, 0, 0.02), wide * 0.66, wide * 0.92, 0.02),
        ring("wood", (0, 0, -0.08), wide * 0.87, 0.05),
        ball("body", (0, 0, 0.08), (wide * 1.08, wide * 1.08, swirl)),
        ball("body", (0, 0, 0.08 + swirl), (wide * 0.84, wide * 0.84, swirl * 0.95)),
        ball("body", (0, 0, 0.08 + swirl * 2), (wide * 0.56, wide * 0.56, swirl * 0.9)),
        cone("body", (0, 0, 0.08 + swirl * 2.5), (0, 0, 0.1 + swirl * 3.5), wide * 0.34, 0.04),
        ball("red", (0, 0, 0.1 + swirl * 3.5), 0.14),
        *(sprinkle(step) for step in range(10)),
    ]
    return Shape(parts)
