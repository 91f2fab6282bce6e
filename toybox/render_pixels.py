"""One pixel of one toy: camera ray, shading, average over its samples. Shared by CPU and CUDA.

The light is fixed in the world, up and to the front left, and wraps around, so a toy looks the
same whichever side the camera is on: brightness = 0.58 + 0.42 (1 + n . l) / 2.
"""

from math import sqrt

import numpy as np

from toybox.render_sdf import FAR, HALF, ONE, ZERO, device_function, first_hit, normal

_light = np.array([0.55, 0.35, 0.76])
_light /= np.linalg.norm(_light)
LIGHT_X, LIGHT_Y, LIGHT_Z = (np.float32(component) for component in _light)
AMBIENT, DIFFUSE = np.float32(0.58), np.float32(0.42)


@device_function
def shade(rows, x, y, z, part):  # type: ignore[no-untyped-def]
    """Brightness in [0.58, 1] of a part's surface point."""
    nx, ny, nz = normal(rows[part], x, y, z)
    return AMBIENT + DIFFUSE * HALF * (ONE + nx * LIGHT_X + ny * LIGHT_Y + nz * LIGHT_Z)


@device_function
def pixel(rows, slots, count, palette, camera, column, row, samples):  # type: ignore[no-untyped-def]
    """Red, green, blue (premultiplied by coverage) and coverage of one pixel.

    Args:
        rows, slots, count: the toy's parts.
        palette: [S, 3] colours of the slots.
        camera: [13] viewmat's rotation (row-major), camera position, focal length in pixels.
        column, row: pixel minus the principal point, float32, at the pixel's corner.
        samples: samples a side, each in the middle of its share of the pixel.
    """
    red, green, blue, covered = ZERO, ZERO, ZERO, ZERO
    step = ONE / np.float32(samples)
    ox, oy, oz, focal = camera[9], camera[10], camera[11], camera[12]
    for i in range(samples):
        for j in range(samples):
            u = (column + (np.float32(j) + HALF) * step) / focal
            v = (row + (np.float32(i) + HALF) * step) / focal
            dx = camera[0] * u + camera[3] * v + camera[6]
            dy = camera[1] * u + camera[4] * v + camera[7]
            dz = camera[2] * u + camera[5] * v + camera[8]
            scale = ONE / sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx * scale, dy * scale, dz * scale
            # everything lies in the unit ball
            along = ox * dx + oy * dy + oz * dz
            if ox * ox + oy * oy + oz * oz - along * along > ONE:
                continue
            t, part = first_hit(rows, count, ox, oy, oz, dx, dy, dz)
            if t >= FAR:
                continue
            light = shade(rows, ox + t * dx, oy + t * dy, oz + t * dz, part)
            slot = slots[part]
            red += light * palette[slot, 0]
            green += light * palette[slot, 1]
            blue += light * palette[slot, 2]
            covered += ONE
    share = step * step
    return red * share, green * share, blue * share, covered * share
