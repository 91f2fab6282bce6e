"""The toys without a head: vehicles, a house, plants, things of a kitchen (see
geometry_creatures.py for the conventions).
"""

import math

from toybox.geometry_creatures import Shape, Vary, mirrored
from toybox.geometry_parts import ball, box, cone, limb, ring


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
            lambda s: ball("dark", (-0.02, s * thick * 1.15, -0.1), (0.2, 0.04, 0.13), (s * 40, 0, -s * 32))
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
            cone("black", (x, s * wide * 0.62, -0.2), (x, s * (wide + 0.06), -0.2), wheel, edge=0.05)
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
    """A cottage: door and two windows in front, chimney over its left half."""
    wide, deep, tall = vary(0.60, 0.1), vary(0.48, 0.1), vary(0.38, 0.12)
    chimney = vary(0.36, 0.2)
    gable = wide / math.sqrt(2)
    slab = gable + 0.16
    inward = 0.5 * (slab - gable) / math.sqrt(2)
    parts = [
        box("body", (0, 0, 0), (deep, wide, tall), 0.015),
        box("body", (0, 0, tall), (deep * 0.985, gable, gable), 0.01, (45, 0, 0)),
        *mirrored(
            lambda s: box(
                "slate",
                (0, s * (wide * 0.5 + inward * 1.2), tall + wide * 0.5 - inward * 1.2 + 0.06),
                (deep + 0.12, slab * 0.72, 0.06),
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
        box(
            "brick",
            (-deep * 0.45, wide * 0.5, tall + wide * 0.5 + chimney * 0.4),
            (0.12, 0.12, chimney),
            0.01,
        ),
    ]
    return Shape(parts)


def mushroom(vary: Vary) -> Shape:
    """A toadstool with spots all around."""
    wide, tall, stem = vary(0.70, 0.1), vary(0.42, 0.15), vary(0.62, 0.12)
    turn = vary(1.0, 1.0) * 36.0
    foot = vary(0.30, 0.15)

    def spot(azimuth_deg: float, elevation_deg: float, radius: float) -> list[float]:
        azimuth, elevation = math.radians(azimuth_deg + turn), math.radians(elevation_deg)
        flat = math.cos(elevation)
        return [
            wide * flat * math.cos(azimuth),
            wide * flat * math.sin(azimuth),
            tall * math.sin(elevation),
            radius,
        ]

    places = [spot(72.0 * k, 22, 0.115) for k in range(5)]
    places += [spot(72.0 * k + 36, 52, 0.10) for k in range(5)] + [spot(0, 90, 0.13)]
    parts = [
        cone("cream", (0, 0, -stem), (0, 0, 0.0), foot, 0.2, 0.06),
        cone("cream", (0, 0, -0.12), (0, 0, 0.1), wide * 0.80, wide * 0.9, 0.05),
        ball("body", (0, 0, 0.02), (wide, wide, tall)),
        *(ball("spots", (x, y, z + 0.02), radius) for x, y, z, radius in places),
    ]
    return Shape(parts)


def cactus(vary: Vary) -> Shape:
    """A cactus with two arms, in a pot."""
    tall, fat = vary(0.72, 0.1), vary(0.22, 0.1)
    left, right = vary(0.12, 0.8), vary(-0.12, 0.8)
    reach = vary(0.42, 0.1)
    parts = [
        cone("brick", (0, 0, -0.86), (0, 0, -0.42), 0.26, 0.36, 0.02),
        cone("brick", (0, 0, -0.46), (0, 0, -0.34), 0.41, 0.41, 0.03),
        cone("wood", (0, 0, -0.4), (0, 0, -0.325), 0.35, 0.35),
        limb("body", (0, 0, -0.4), (0, 0, tall), fat, fat * 0.92),
        limb("body", (0, 0, left), (0, reach, left + 0.02), 0.125),
        limb("body", (0, reach, left), (0, reach, left + 0.4), 0.13, 0.12),
        limb("body", (0, 0, right), (0, -reach, right + 0.02), 0.125),
        limb("body", (0, -reach, right), (0, -reach, right + 0.34), 0.13, 0.12),
        *(
            limb("pale", (x, y, -0.28), (x, y, tall * 0.92), 0.03)
            for x, y in ((fat, 0.0), (-fat, 0.0))
        ),
        ball("pink", (0, 0, tall + fat * 0.95), (0.14, 0.14, 0.09)),
        ball("yellow", (0, 0, tall + fat * 0.95 + 0.07), 0.055),
    ]
    return Shape(parts)


def mug(vary: Vary) -> Shape:
    """A mug of coffee: handle at its left, a badge in front."""
    radius, tall, handle = vary(0.48, 0.1), vary(0.52, 0.1), vary(0.30, 0.12)
    parts = [
        cone("body", (0, 0, -tall), (0, 0, tall), radius * 0.94, radius, 0.05),
        ring("body", (0, 0, tall), radius - 0.045, 0.055),
        cone("wood", (0, 0, tall - 0.1), (0, 0, tall + 0.015), radius * 0.88, radius * 0.88, 0.005),
        ring("body", (0, radius + 0.02, 0), handle, 0.085, (1, 0, 0)),
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
        box("body", (-deep + 0.05, 0, 0.07 + tall * 0.68), (0.065, wide, tall * 0.46), 0.05, (0, -7, 0)),
        *mirrored(
            lambda s: limb(
                "wood", (-deep + 0.08, s * wide * 0.72, 0), (-deep + 0.02, s * wide * 0.72, tall * 0.6), 0.06
            )
        ),
        *(
            limb("wood", (x * (deep - 0.09), y * (wide - 0.08), 0), (x * (deep - 0.03), y * (wide - 0.04), -leg), 0.075, 0.06)
            for x in (1.0, -1.0)
            for y in (1.0, -1.0)
        ),
        ball("pale", (-deep + 0.13, 0, 0.09 + tall * 0.68), (0.06, wide * 0.62, tall * 0.28), (0, -7, 0)),
    ]
    return Shape(parts)


def tree(vary: Vary) -> Shape:
    """A Christmas tree."""
    wide, tall, turn = vary(0.56, 0.12), vary(0.5, 0.1), vary(1.0, 1.0) * 60.0
    tiers = [(-0.42, 1.0), (-0.42 + tall * 0.72, 0.78), (-0.42 + tall * 1.4, 0.56)]

    def bauble(tier: int, step: int) -> tuple[float, float, float]:
        z, scale = tiers[tier]
        angle = math.radians(turn + 120 * step + 60 * tier)
        radius = wide * scale * 0.86
        return (radius * math.cos(angle), radius * math.sin(angle), z + 0.05)

    top = tiers[2][0] + tall * 1.06
    parts = [
        cone("wood", (0, 0, -0.84), (0, 0, -0.3), 0.12),
        *(
            cone("body", (0, 0, z), (0, 0, z + tall * (1.05 if s < 0.6 else 1.15)), wide * s, 0.05 * s, 0.03)
            for z, s in tiers
        ),
        *(
            ball("spots", bauble(tier, step), 0.07)
            for tier in range(3)
            for step in range(3)
        ),
        box("yellow", (0, 0, top + 0.05), (0.085, 0.085, 0.085), 0.02, (45, 35.3, 0)),
        box("yellow", (0, 0, top + 0.05), (0.085, 0.085, 0.085), 0.02, (0, 0, 45)),
    ]
    return Shape(parts)


def rocket(vary: Vary) -> Shape:
    """A rocket: porthole and door in front, flame below."""
    fat, tall, fin = vary(0.32, 0.1), vary(0.62, 0.08), vary(0.26, 0.15)

    def make_fin(angle_deg: float):  # type: ignore[no-untyped-def]
        c, s = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
        reach = fat * 0.8 + fin * 0.5
        return box(
            "pale", (reach * c, reach * s, -tall * 0.72), (fin * 0.85, 0.045, 0.26), 0.03, (0, 30, angle_deg)
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
        limb("orange", (0, 0, -tall - 0.14), (0, 0, -tall - 0.36), fat * 0.46, 0.06),
        limb("yellow", (0, 0, -tall - 0.1), (0, 0, -tall - 0.24), fat * 0.5, 0.1),
    ]
    return Shape(parts)


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
        ring("body", (-fat - 0.08, 0, 0.04), handle, 0.075, (0, 1, 0)),
        ball("pale", (0, 0, tall * 0.72), (fat * 0.66, fat * 0.66, 0.22)),
        ring("dark", (0, 0, tall * 0.74), fat * 0.67, 0.04),
        ball("dark", (0, 0, tall * 0.72 + 0.27), 0.11),
    ]
    return Shape(parts)


def cupcake(vary: Vary) -> Shape:
    """A cupcake: cream of the toy's colour, a cherry on top."""
    wide, cup, swirl = vary(0.52, 0.1), vary(0.44, 0.12), vary(0.22, 0.1)
    turn = vary(1.0, 1.0) * 45.0

    def sprinkle(step: int):  # type: ignore[no-untyped-def]
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
