"""The seven toys with a head and a neck.

Every toy faces +x, its own left is +y, up is +z; size and place are free (geometry.py fits them
into the unit ball). `vary(value, spread)` returns value times a random factor in 1 +- spread.
"""

from collections.abc import Callable
from dataclasses import dataclass

from toybox.geometry_parts import Part, Vector, ball, box, cone, limb

Vary = Callable[[float, float], float]


@dataclass(frozen=True)
class Shape:
    """A toy's parts, and where it wears things.

    Attributes:
        hat: where a hat's brim rests (the point) and its crown's radius.
        neck: a scarf's centre and radius.
        stance: a cube under its feet must be at least this wide to each side.
    """

    parts: list[Part]
    hat: tuple[Vector, float] | None = None
    neck: tuple[Vector, float] | None = None
    stance: float = 0.0


def mirrored(make: Callable[[float], Part]) -> list[Part]:
    """`make(side)` for the left side (1) and the right one (-1)."""
    return [make(1.0), make(-1.0)]


def bear(vary: Vary) -> Shape:
    """A seated teddy bear."""
    fat, head, ear = vary(0.50, 0.12), vary(0.43, 0.08), vary(0.17, 0.15)
    arm, spread, leg = vary(0.45, 0.15), vary(0.55, 0.15), vary(0.45, 0.2)
    z = 0.56 + head * 0.78
    ear_y, ear_z = head * 0.72, z + head * 0.72
    parts = [
        ball("body", (0, 0, 0), (fat, fat * 1.02, 0.56)),
        ball("pale", (fat * 0.42, 0, -0.02), (fat * 0.68, fat * 0.74, 0.42)),
        ball("body", (0.04, 0, z), (head * 0.95, head * 1.06, head)),
        ball("pale", (head * 0.93, 0, z - head * 0.24), (0.19, 0.21, 0.16)),
        ball("black", (head * 0.93 + 0.18, 0, z - head * 0.1), (0.07, 0.09, 0.065)),
        *mirrored(lambda s: ball("black", (head * 0.88, s * 0.18, z + head * 0.18), 0.068)),
        *mirrored(lambda s: ball("body", (0.0, s * ear_y, ear_z), (0.1, ear, ear))),
        *mirrored(lambda s: ball("pale", (0.07, s * ear_y, ear_z), (0.06, ear * 0.6, ear * 0.6))),
        *mirrored(
            lambda s: limb("body", (0.1, s * fat * 0.85, 0.3), (arm, s * spread, -0.1), 0.15, 0.17)
        ),
        *mirrored(
            lambda s: limb("body", (0.1, s * 0.3, -0.4), (0.2 + leg, s * 0.42, -0.46), 0.19, 0.2)
        ),
        *mirrored(lambda s: ball("pale", (0.36 + leg, s * 0.445, -0.46), (0.07, 0.14, 0.14))),
        ball("body", (-fat * 0.98, 0, -0.3), 0.15),
    ]
    return Shape(parts, ((-0.02, 0, z + head * 0.86), head * 0.62), ((0.05, 0, 0.5), 0.33))


def bunny(vary: Vary) -> Shape:
    """A rabbit that sits up, with long ears and a white tail."""
    fat, head, ear = vary(0.40, 0.12), vary(0.33, 0.08), vary(0.72, 0.15)
    splay, paw = vary(0.24, 0.4), vary(0.34, 0.15)
    z = 0.56 + head * 0.7
    ear_base = z + head * 0.7
    parts = [
        limb("body", (-0.05, 0, -0.25), (0.0, 0, 0.3), fat, fat * 0.62),
        ball("pale", (fat * 0.46, 0, -0.12), (fat * 0.6, fat * 0.68, 0.4), (0, -10, 0)),
        ball("body", (0.06, 0, z), (head, head * 0.98, head * 0.95)),
        *mirrored(
            lambda s: limb(
                "body", (0, s * 0.14, ear_base), (-0.1, s * splay, ear_base + ear), 0.085, 0.12
            )
        ),
        *mirrored(
            lambda s: limb(
                "pink",
                (0.065, s * 0.145, ear_base + 0.12),
                (-0.025, s * splay * 0.97, ear_base + ear * 0.96),
                0.045,
                0.075,
            )
        ),
        *mirrored(lambda s: ball("pale", (head * 0.98, s * 0.085, z - 0.12), (0.1, 0.115, 0.09))),
        ball("pink", (head + 0.12, 0, z - 0.05), (0.05, 0.065, 0.045)),
        *mirrored(lambda s: ball("black", (head * 0.9, s * 0.17, z + 0.09), (0.05, 0.065, 0.085))),
        *mirrored(lambda s: limb("body", (0.1, s * 0.24, 0.22), (paw, s * 0.16, 0.06), 0.1, 0.105)),
        *mirrored(
            lambda s: limb("body", (-0.05, s * 0.3, -0.54), (0.5, s * 0.3, -0.57), 0.15, 0.11)
        ),
        *mirrored(
            lambda s: ball("body", (-0.1, s * fat * 0.75, -0.3), (0.28, 0.16, 0.28), (0, 0, 0))
        ),
        ball("white", (-fat * 1.12, 0, -0.4), 0.17),
    ]
    return Shape(parts, ((0.1, 0, z + head * 0.8), head * 0.62), ((0.03, 0, 0.48), 0.25))


def cat(vary: Vary) -> Shape:
    """A cat on four legs, its tail up and bent to its left."""
    length, head, ear = vary(0.44, 0.1), vary(0.40, 0.08), vary(0.30, 0.15)
    leg, tail, lean = vary(0.5, 0.12), vary(0.55, 0.15), vary(0.25, 0.5)
    x, z = length + 0.2, 0.42
    back = -length - 0.22
    parts = [
        limb("body", (-length, 0, 0), (length, 0, 0.05), 0.29, 0.27),
        ball("pale", (length + 0.12, 0, -0.04), (0.19, 0.19, 0.22)),
        ball("body", (x, 0, z), (head * 0.92, head * 1.08, head * 0.94)),
        *mirrored(
            lambda s: cone(
                "body",
                (x, s * 0.22, z + head * 0.55),
                (x - 0.02, s * 0.29, z + head * 0.7 + ear),
                0.17,
                0.02,
            )
        ),
        *mirrored(
            lambda s: cone(
                "pink",
                (x + 0.09, s * 0.22, z + head * 0.6),
                (x + 0.03, s * 0.28, z + head * 0.7 + ear * 0.75),
                0.1,
                0.02,
            )
        ),
        *mirrored(
            lambda s: ball("pale", (x + head * 0.84, s * 0.085, z - 0.11), (0.1, 0.12, 0.09))
        ),
        ball("pink", (x + head * 0.84 + 0.09, 0, z - 0.045), (0.04, 0.06, 0.04)),
        *mirrored(
            lambda s: ball("black", (x + head * 0.78, s * 0.17, z + 0.1), (0.06, 0.06, 0.085))
        ),
        *mirrored(
            lambda s: limb("body", (length, s * 0.15, -0.1), (length + 0.04, s * 0.17, -leg), 0.12)
        ),
        *mirrored(
            lambda s: limb(
                "body", (-length, s * 0.17, -0.1), (-length - 0.02, s * 0.19, -leg), 0.14, 0.12
            )
        ),
        *mirrored(lambda s: ball("pale", (length + 0.1, s * 0.17, -leg - 0.03), (0.15, 0.12, 0.1))),
        limb("body", (-length - 0.1, 0, 0.1), (back - 0.12, lean * 0.3, 0.2 + tail * 0.5), 0.09),
        limb(
            "body",
            (back - 0.12, lean * 0.3, 0.2 + tail * 0.5),
            (back, lean, 0.25 + tail),
            0.09,
            0.085,
        ),
    ]
    return Shape(
        parts, ((x - 0.02, 0, z + head * 0.82), head * 0.62), ((length + 0.11, 0, 0.2), 0.25)
    )


def penguin(vary: Vary) -> Shape:
    """A penguin: white front, beak, flippers."""
    fat, tall, head = vary(0.50, 0.1), vary(0.68, 0.08), vary(0.37, 0.08)
    flap = vary(22.0, 0.5)
    z = tall * 0.78 + head * 0.45
    parts = [
        ball("body", (0, 0, 0), (fat, fat * 1.02, tall)),
        ball("pale", (fat * 0.30, 0, -0.06), (fat * 0.82, fat * 0.8, tall * 0.84)),
        ball("body", (0.02, 0, z), head),
        *mirrored(lambda s: ball("pale", (head * 0.52, s * 0.13, z - 0.03), (0.24, 0.18, 0.24))),
        *mirrored(lambda s: ball("black", (head * 0.52 + 0.2, s * 0.15, z + 0.06), 0.062)),
        limb("beak", (head * 0.8, 0, z - 0.06), (head + 0.26, 0, z - 0.1), 0.11, 0.035),
        *mirrored(
            lambda s: ball(
                "body", (-0.02, s * (fat + 0.09), 0.1), (0.2, 0.075, 0.46), (s * flap, 0, 0)
            )
        ),
        *mirrored(
            lambda s: ball(
                "beak", (0.26, s * 0.24, -tall * 0.93), (0.3, 0.19, 0.08), (0, 0, s * 14)
            )
        ),
        cone("body", (-fat * 0.6, 0, -tall * 0.55), (-fat - 0.24, 0, -tall * 0.86), 0.22, 0.04),
    ]
    return Shape(
        parts, ((0, 0, z + head * 0.82), head * 0.66), ((0.02, 0, tall * 0.72), head * 0.92)
    )


def duck(vary: Vary) -> Shape:
    """A bath duck."""
    length, head, fat = vary(0.66, 0.1), vary(0.35, 0.08), vary(0.46, 0.1)
    bill, wing, x = vary(0.24, 0.15), vary(0.36, 0.12), 0.36
    z = 0.38 + head * 0.75
    parts = [
        ball("body", (0, 0, 0), (length, fat, 0.42)),
        ball("body", (x * 0.75, 0, 0.12), (0.36, 0.34, 0.36)),
        limb("body", (-length * 0.55, 0, 0.1), (-length - 0.16, 0, 0.42), 0.26, 0.05),
        ball("body", (x, 0, z), head),
        ball("beak", (x + head + bill * 0.35, 0, z - 0.02), (bill, 0.19, 0.06), (0, -10, 0)),
        ball("beak", (x + head + bill * 0.2, 0, z - 0.11), (bill * 0.8, 0.15, 0.05), (0, 6, 0)),
        *mirrored(lambda s: ball("white", (x + head * 0.7, s * 0.175, z + 0.12), (0.1, 0.1, 0.12))),
        *mirrored(lambda s: ball("black", (x + head * 0.86, s * 0.205, z + 0.14), 0.066)),
        *mirrored(
            lambda s: ball("dark", (-0.12, s * fat * 0.9, 0.08), (wing, 0.12, 0.22), (0, 12, s * 6))
        ),
        limb("dark", (-0.46, fat * 0.85, 0.14), (-0.12 - wing, fat * 0.98, 0.22), 0.07, 0.03),
        limb("dark", (-0.46, -fat * 0.85, 0.14), (-0.12 - wing, -fat * 0.98, 0.22), 0.07, 0.03),
    ]
    return Shape(parts, ((x - 0.02, 0, z + head * 0.83), head * 0.66), ((x * 0.95, 0, 0.38), 0.31))


def snowman(vary: Vary) -> Shape:
    """Three balls, a carrot for a nose, sticks for arms."""
    low, middle, head = vary(0.50, 0.08), vary(0.37, 0.08), vary(0.28, 0.08)
    lift = vary(0.28, 0.5)
    z_middle = low * 0.72 + middle * 0.72
    z_head = z_middle + middle * 0.72 + head * 0.75
    elbow = middle + 0.33
    parts = [
        ball("body", (0, 0, 0), (low, low, low * 0.94)),
        ball("body", (0, 0, z_middle), middle),
        ball("body", (0, 0, z_head), head),
        cone(
            "orange", (head * 0.9, 0, z_head - 0.02), (head + 0.36, 0, z_head - 0.05), 0.085, 0.02
        ),
        *mirrored(lambda s: ball("black", (head * 0.9, s * 0.115, z_head + 0.09), 0.052)),
        *(ball("black", (middle * 0.97, 0, z_middle + dz), 0.058) for dz in (0.13, -0.08)),
        ball("black", (low * 0.96, 0, low * 0.28), 0.058),
        *mirrored(
            lambda s: limb(
                "wood",
                (0.02, s * middle * 0.85, z_middle + 0.06),
                (0.06, s * elbow, z_middle + lift),
                0.045,
                0.04,
            )
        ),
        *mirrored(
            lambda s: limb(
                "wood",
                (0.05, s * (elbow - 0.06), z_middle + lift - 0.05),
                (0.08, s * (elbow - 0.03), z_middle + lift + 0.17),
                0.036,
            )
        ),
    ]
    return Shape(
        parts,
        ((0, 0, z_head + head * 0.8), head * 0.74),
        ((0, 0, z_head - head * 0.86), head * 0.9),
    )


def robot(vary: Vary) -> Shape:
    """A tin robot: face and buttons in front, a pack on its back."""
    wide, tall, head = vary(0.38, 0.12), vary(0.42, 0.1), vary(0.30, 0.1)
    swing, leg = vary(0.22, 0.6), vary(0.34, 0.15)
    z = tall + 0.07 + head * 0.8
    deep = 0.27
    parts = [
        box("body", (0, 0, 0), (deep, wide, tall), 0.05),
        box("grey", (deep, 0, 0.06), (0.035, wide * 0.72, tall * 0.58), 0.02),
        *(
            ball(slot, (deep + 0.04, y * wide, 0.16), 0.07)
            for slot, y in (("red", 0.4), ("yellow", 0.0), ("green", -0.4))
        ),
        box("dark_grey", (deep + 0.02, 0, -0.08), (0.03, wide * 0.52, 0.06), 0.02),
        cone("grey", (0, 0, tall - 0.05), (0, 0, z), 0.15),
        box("body", (0, 0, z), (head * 0.9, head * 1.15, head * 0.8), 0.06),
        box("dark_grey", (head * 0.9, 0, z), (0.03, head * 0.92, head * 0.5), 0.02),
        *mirrored(lambda s: ball("yellow", (head * 0.9 + 0.03, s * head * 0.45, z + 0.03), 0.085)),
        cone("grey", (0, -head * 1.32, z), (0, head * 1.32, z), 0.11),
        *mirrored(
            lambda s: limb(
                "grey", (0, s * (wide + 0.06), tall * 0.72), (swing, s * (wide + 0.14), -0.2), 0.09
            )
        ),
        *mirrored(lambda s: ball("body", (swing + 0.02, s * (wide + 0.14), -0.28), 0.145)),
        *mirrored(
            lambda s: cone(
                "grey", (0, s * wide * 0.52, -tall), (0, s * wide * 0.52, -tall - leg), 0.12
            )
        ),
        *mirrored(
            lambda s: box("body", (0.08, s * wide * 0.54, -tall - leg), (0.25, 0.17, 0.1), 0.05)
        ),
        box("dark", (-deep - 0.08, 0, 0.05), (0.12, wide * 0.66, tall * 0.62), 0.04),
    ]
    return Shape(
        parts, ((0, 0, z + head * 0.76), head * 0.72), ((0, 0, tall + 0.05), max(wide, deep) * 0.85)
    )
