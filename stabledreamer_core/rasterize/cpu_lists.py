"""Numba kernels: which Gaussians meet which rows of which picture, front to back.

Each camera's picture is cut into bands of BAND_ROWS rows, whatever the number of threads, so that
sums are always taken in the same order. A Gaussian that meets k bands gets k slots in a row, in
which the backward pass leaves that band's share of the gradient: every slot has one owner.
"""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

BAND_ROWS = 16
LOG2E = 1.4426950408889634
ALPHA_MIN = 1.0 / 255.0
RECORD = 12  # floats in a record, see `make_records`

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@njit(cache=True)
def _sort(keys: NDArray[np.uint32], values: Ints) -> Ints:
    """`values` in the order of `keys`, ties as they were: radix sort with digits of 11 bits."""
    n = len(keys)
    other_keys, other_values = np.empty_like(keys), np.empty_like(values)
    for shift in (0, 11, 22):
        counts = np.zeros(2049, np.int64)
        for i in range(n):
            counts[((keys[i] >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        if counts.max() == n:
            continue
        counts = np.cumsum(counts)
        for i in range(n):
            digit = (keys[i] >> np.uint32(shift)) & np.uint32(2047)
            other_keys[counts[digit]], other_values[counts[digit]] = keys[i], values[i]
            counts[digit] += 1
        keys, other_keys = other_keys, keys
        values, other_values = other_values, values
    return values


@njit(parallel=True, cache=True, error_model="numpy")
def sort_and_count(
    means2d: Floats,  # [C, N, 2]
    covars2d: Floats,  # [C, N, 3]
    depths: Floats,  # [C, N]
    opacities: Floats,  # [C, N]
    radii: Ints,  # [C, N, 2]
    height: int,
    ids: Ints,  # [C, N] out: the Gaussians that camera sees, front to back; then garbage
    drawn: NDArray[np.int64],  # [C] out: how many those are
    bands: Ints,  # [C, N, 2] out: first band and one past the last, by place in `ids`
    band_counts: NDArray[np.int64],  # [C, B] out, zeroed: Gaussians in each band
) -> None:
    """Sort each camera's Gaussians by depth (ties by index, as gsplat) and find their bands."""
    n_bands = band_counts.shape[1]
    for c in prange(means2d.shape[0]):
        seen = np.empty(means2d.shape[1], np.int32)
        count = 0
        for n in range(means2d.shape[1]):
            seen[count] = n
            count += radii[c, n, 0] > 0 or radii[c, n, 1] > 0
        # Depths are positive, so their bits sort like integers.
        keys = depths[c].view(np.uint32)[seen[:count]]
        ids[c, :count] = _sort(keys, seen[:count])
        drawn[c] = count
        for i in range(count):
            n = ids[c, i]
            reach = math.sqrt(2 * math.log(opacities[c, n] / ALPHA_MIN) * covars2d[c, n, 2]) + 0.01
            top = max((means2d[c, n, 1] - reach) / BAND_ROWS, 0.0)
            bottom = min((means2d[c, n, 1] + reach) / BAND_ROWS, n_bands - 0.5)
            bottom = min(bottom, (height - 0.5) / BAND_ROWS)
            first, end = int(top), int(bottom) + 1
            if bottom < 0 or top >= n_bands:
                first = end = 0
            bands[c, i, 0], bands[c, i, 1] = first, end
            for b in range(first, end):
                band_counts[c, b] += 1


@njit(parallel=True, cache=True, error_model="numpy")
def make_records(
    means2d: Floats,
    covars2d: Floats,
    conics: Floats,
    depths: Floats,
    opacities: Floats,
    colors: Floats,  # [N, 3]
    ids: Ints,
    drawn: NDArray[np.int64],
    bands: Ints,
    band_starts: NDArray[np.int64],  # [C, B] where each band's list starts; used up
    camera_starts: NDArray[np.int64],  # [C] where each camera's slots start
    records: Floats,  # [C, N, RECORD] out, by place in `ids`
    slots: NDArray[np.int64],  # [C, N] out: the first slot, by place in `ids`
    places: Ints,  # [C, N] out: place in `ids` by Gaussian, -1 where it is not drawn
    lists: Ints,  # [pairs] out: places, front to back, band after band
) -> None:
    """Lay out what the compositing kernels read, in the order in which they read it.

    On row y an ellipse's exponent is -sigma = -(x - xc)^2 / (2 vx) - (y - my)^2 / (2 yy) with
    xc = mx + (y - my) xy / yy: a form without the cancellation of the usual quadratic one. A
    record holds it in powers of two: mx, my, -log2(e) / (2 vx), xy / yy, -log2(e) / (2 yy),
    log2(opacity), r, g, b, depth, 2 vx / log2(e), 0.
    """
    for c in prange(means2d.shape[0]):
        places[c] = -1
        slot = camera_starts[c]
        for i in range(drawn[c]):
            n = ids[c, i]
            places[c, n] = i
            slots[c, i] = slot
            slot += bands[c, i, 1] - bands[c, i, 0]
            for b in range(bands[c, i, 0], bands[c, i, 1]):
                lists[band_starts[c, b]] = i
                band_starts[c, b] += 1
            record = records[c, i]
            precision = max(conics[c, n, 0] * np.float32(0.5 * LOG2E), np.float32(1e-30))
            record[0], record[1] = means2d[c, n, 0], means2d[c, n, 1]
            record[2] = -precision
            record[3] = covars2d[c, n, 1] / covars2d[c, n, 2]
            record[4] = np.float32(-0.5 * LOG2E) / covars2d[c, n, 2]
            record[5] = math.log2(opacities[c, n])
            record[6], record[7], record[8] = colors[n, 0], colors[n, 1], colors[n, 2]
            record[9] = depths[c, n]
            record[10] = np.float32(1.0) / precision
            record[11] = 0.0
