"""Top hat, scarf and cube, placed on a toy's shape."""

import numpy as np

from toybox.geometry_creatures import Shape, Vary
from toybox.geometry_parts import Part, box, cone, extreme_points, limb, ring


def top_hat(shape: Shape, vary: Vary) -> list[Part]:
    """Brim, crown and band."""
    assert shape.hat is not None
    (x, y, z), radius = shape.hat
    tall, brim = vary(radius * 1.75, 0.12), vary(radius * 1.62, 0.06)
    lean = vary(0.06, 1.0) * tall
    return [
        cone("accessory", (x, y, z - 0.03), (x, y, z + 0.045), brim, brim, 0.03),
        cone("accessory", (x, y, z), (x, y + lean, z + tall), radius * 0.95, radius * 1.02, 0.03),
        cone(
            "accessory_dark",
            (x, y, z + 0.04),
            (x, y + 0.18 * lean, z + 0.04 + 0.2 * tall),
            radius,
            radius,
            0.01,
        ),
    ]


def scarf(shape: Shape, vary: Vary) -> list[Part]:
    """A thick loop, its two ends hanging down in front on the toy's left."""
    assert shape.neck is not None
    (x, y, z), radius = shape.neck
    tube = vary(radius * 0.36, 0.12)
    front, hang = x + radius + tube * 0.4, vary(radius * 1.5, 0.15)
    left = y + radius * 0.45
    return [
        ring("accessory", (x, y, z), radius, tube, half_width=tube * 0.35),
        limb(
            "accessory",
            (front - tube * 0.3, left, z),
            (front + tube * 0.5, left + tube * 0.5, z - hang),
            tube * 0.9,
        ),
        limb(
            "accessory_dark",
            (front - tube * 0.4, left - tube * 0.6, z),
            (front + tube * 0.3, left - tube * 1.2, z - hang * 0.75),
            tube * 0.75,
        ),
    ]


def cube(shape: Shape, vary: Vary) -> list[Part]:
    """A cube for the toy to stand on, as wide as about half of the toy's largest side."""
    points = np.concatenate([extreme_points(part) for part in shape.parts])
    low, high = points.min(0), points.max(0)
    half = max(vary(0.25, 0.12) * float((high - low).max()), shape.stance)
    x, y = 0.5 * (low + high)[:2]
    return [box("accessory", (x, y, low[2] - half + 0.02), (half, half, half), 0.03 * half)]
