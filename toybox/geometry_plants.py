"""Plants, the same from all sides: mushroom, cactus, tree.

Conventions: geometry_creatures.py.
"""

import math

from toybox.geometry_creatures import Shape, Vary
from toybox.geometry_parts import ball, box, cone, limb


def mushroom(vary: Vary) -> Shape:
    """A toadstool with spots all around."""
    wide, tall, stem = vary(0.64, 0.1), vary(0.42, 0.15), vary(0.78, 0.12)
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
        *(
            ball("spots", (0.95 * x, 0.95 * y, 0.95 * z + 0.02), radius)
            for x, y, z, radius in places
        ),
    ]
    return Shape(parts)


def cactus(vary: Vary) -> Shape:
    """A cactus with two arms, in a pot."""
    tall, fat = vary(0.72, 0.1), vary(0.22, 0.1)
    left, right = vary(0.12, 0.8), vary(-0.12, 0.8)
    reach, rib = vary(0.42, 0.1), fat * 0.7
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
            limb("dark", (rib * x, rib * y, -0.3), (rib * x, rib * y, tall * 0.98), 0.035)
            for x in (1.0, -1.0)
            for y in (1.0, -1.0)
        ),
        ball("pink", (0, 0, tall + fat * 0.95), (0.14, 0.14, 0.09)),
        ball("yellow", (0, 0, tall + fat * 0.95 + 0.07), 0.055),
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
            cone(
                "body",
                (0, 0, z),
                (0, 0, z + tall * (1.05 if s < 0.6 else 1.15)),
                wide * s,
                0.05 * s,
                0.03,
            )
            for z, s in tiers
        ),
        *(ball("spots", bauble(tier, step), 0.07) for tier in range(3) for step in range(3)),
        box("yellow", (0, 0, top + 0.05), (0.085, 0.085, 0.085), 0.02, (45, 35.3, 0)),
        box("yellow", (0, 0, top + 0.05), (0.085, 0.085, 0.085), 0.02, (0, 0, 45)),
    ]
    return Shape(parts)
