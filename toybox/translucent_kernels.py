"""The arithmetic of translucent.py: one source, compiled for the CPU and for CUDA."""

from math import exp, sqrt

import numpy as np
from numba import prange

from toybox.render_kernels import HALF, ONE, TWO, ZERO, device_function, distance, over_the_cores

STEPS = 64  # along a ray, through the unit ball that holds the toy


@device_function
def through(  # type: ignore[no-untyped-def]
    rows, slots, count, palette, ox, oy, oz, dx, dy, dz, density
):
    """Red, green, blue (premultiplied) and alpha of one ray (unit direction)."""
    along = ox * dx + oy * dy + oz * dz
    room = ONE - (ox * ox + oy * oy + oz * oz - along * along)
    red, green, blue, clear = ZERO, ZERO, ZERO, ONE
    if room <= ZERO:
        return red, green, blue, ZERO
    half = sqrt(room)
    step = TWO * half / np.float32(STEPS)
    start = max(-along - half, ZERO)
    for k in range(STEPS):
        t = start + (np.float32(k) + HALF) * step
        gap, part = distance(rows, count, ox + t * dx, oy + t * dy, oz + t * dz)
        # a step across a surface counts by its share inside
        inside = min(max(HALF - gap / step, ZERO), ONE)
        if inside > ZERO:
            kept = np.float32(exp(-density * step * inside))
            weight = clear * (ONE - kept)
            slot = slots[part]
            red += weight * palette[slot, 0]
            green += weight * palette[slot, 1]
            blue += weight * palette[slot, 2]
            clear *= kept
    return red, green, blue, ONE - clear


@device_function
def jelly_pixel(  # type: ignore[no-untyped-def]
    rows, slots, count, palette, camera, column, row, density, samples
):
    """As render_kernels.pixel: premultiplied colour and alpha of one pixel."""
    red, green, blue, covered = ZERO, ZERO, ZERO, ZERO
    size = ONE / np.float32(samples)
    for i in range(samples):
        for j in range(samples):
            u = (column + (np.float32(j) + HALF) * size) / camera[12]
            v = (row + (np.float32(i) + HALF) * size) / camera[12]
            dx = camera[0] * u + camera[3] * v + camera[6]
            dy = camera[1] * u + camera[4] * v + camera[7]
            dz = camera[2] * u + camera[5] * v + camera[8]
            scale = ONE / sqrt(dx * dx + dy * dy + dz * dz)
            r, g, b, a = through(
                rows,
                slots,
                count,
                palette,
                camera[9],
                camera[10],
                camera[11],
                dx * scale,
                dy * scale,
                dz * scale,
                density,
            )
            red, green, blue, covered = red + r, green + g, blue + b, covered + a
    share = size * size
    return red * share, green * share, blue * share, covered * share


@over_the_cores
def fill(  # type: ignore[no-untyped-def]
    rows, slots, counts, geometry, palettes, cameras, backgrounds, density, samples, images, alphas
):
    """Fill images [n, 3, R, R] and alphas [n, 1, R, R]; arguments as of render_kernels."""
    size = images.shape[2]
    middle = np.float32(size) * HALF
    for line in prange(len(geometry) * size):
        n, i = line // size, line % size
        g = geometry[n]
        y = np.float32(i) - middle
        for j in range(size):
            x = np.float32(j) - middle
            red, green, blue, covered = jelly_pixel(
                rows[g], slots[g], counts[g], palettes[n], cameras[n], x, y, density, samples
            )
            rest = ONE - covered
            images[n, 0, i, j] = red + rest * backgrounds[n, 0]
            images[n, 1, i, j] = green + rest * backgrounds[n, 1]
            images[n, 2, i, j] = blue + rest * backgrounds[n, 2]
            alphas[n, 0, i, j] = covered
