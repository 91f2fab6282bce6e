"""Toybox's tracer on the CPU."""

from typing import Any

import numpy as np
from numba import njit, prange

from toybox.render_pixels import pixel
from toybox.render_sdf import MATH, ONE


def _render(  # type: ignore[no-untyped-def]
    rows, slots, counts, geometry, palettes, cameras, backgrounds, samples, images, alphas
):
    """Fill images [n, 3, R, R] and alphas [n, 1, R, R] (float32).

    Args:
        rows, slots, counts: a `geometry.Bank`'s arrays.
        geometry: [n] int32, which of the bank's shapes.
        palettes: [n, S, 3]; cameras: [n, 13] (see `render_pixels.pixel`); backgrounds: [n, 3].
        samples: samples a side of a pixel.
    """
    size = images.shape[2]
    middle = np.float32(size) * np.float32(0.5)
    for line in prange(len(geometry) * size):
        n, i = line // size, line % size
        g = geometry[n]
        y = np.float32(i) - middle
        for j in range(size):
            x = np.float32(j) - middle
            red, green, blue, covered = pixel(
                rows[g], slots[g], counts[g], palettes[n], cameras[n], x, y, samples
            )
            rest = ONE - covered
            images[n, 0, i, j] = red + rest * backgrounds[n, 0]
            images[n, 1, i, j] = green + rest * backgrounds[n, 1]
            images[n, 2, i, j] = blue + rest * backgrounds[n, 2]
            alphas[n, 0, i, j] = covered


render_cpu: Any = njit(parallel=True, fastmath=MATH, cache=True, error_model="numpy")(_render)
