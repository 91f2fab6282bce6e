"""Numba kernels: which Gaussians meet which rows of which picture, front to back.

Each camera's picture is cut into bands of BAND_ROWS rows, whatever the number of threads, so that
sums are always taken in the same order. A band's list holds copies of its Gaussians' records, so
that compositing reads memory from front to back; in the place of each copy the backward pass leaves
that band's share of the Gaussian's gradient. Every place has one owner.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

BAND_ROWS = 16
RECORD = 16  # floats, one cache line
FEATURES = 6  # where in a record the four blended values begin
LOG2E = 1.4426950408889634
LOG2_ALPHA_MIN = -7.994353436858858  # log2(1 / 255)
DIGIT_BITS = 12

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]

_kernel: Callable[..., Any] = njit(cache=True, error_model="numpy")
_parallel: Callable[..., Any] = njit(cache=True, parallel=True, error_model="numpy")


@dataclass(frozen=True)
class Sorted:
    """Every camera's Gaussians, front to back, and the bands of rows that each meets."""

    records: Floats  # [C, N, RECORD] what compositing reads of each
    bands: Ints  # [C, N, 2] first band and one past the last
    order: Ints  # [C, N]
    drawn: Longs  # [C] how many of `order` count
    slots: Ints  # [C, N] how many pairs of Gaussian and band come before
    bounds: Longs  # [C * B + 1] a band's list lies between two of them

    def lists(self) -> tuple[Floats, Ints]:
        """All bands' records [pairs, RECORD]; by Gaussian, then band, each pair's place there."""
        # torch aligns to cache lines, numpy does not.
        lists = torch.empty(int(self.bounds[-1]), RECORD).numpy()
        places = np.empty(len(lists), np.int32)
        starts = self.bounds[:-1].reshape(len(self.records), -1).copy()
        of_cameras = (self.order, self.drawn, self.bands, self.slots, self.records)
        fill_lists(*of_cameras, starts, lists, places)
        return lists, places


def sort_into_bands(ellipses: list[NDArray[Any]], height: int) -> Sorted:
    """Sort projected Gaussians, the first seven arguments of `make_records`, for compositing."""
    depths = ellipses[3]
    (n_cameras, n), n_bands = depths.shape, -(-height // BAND_ROWS)
    records = torch.empty(n_cameras, n, RECORD).numpy()
    bands = np.empty((n_cameras, n, 2), np.int32)
    order, slots = np.empty((n_cameras, n), np.int32), np.empty((n_cameras, n), np.int32)
    drawn, counts = np.empty(n_cameras, np.int64), np.zeros((n_cameras, n_bands), np.int64)
    make_records(*ellipses, height, records, bands)
    sort_and_count(depths, bands, order, drawn, slots, counts)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    slots += bounds[:-1].reshape(n_cameras, n_bands)[:, :1].astype(np.int32)
    return Sorted(records, bands, order, drawn, slots, bounds)


@_parallel
def make_records(
    means2d: Floats,  # [C, N, 2]
    covars2d: Floats,  # [C, N, 3]
    conics: Floats,  # [C, N, 3]
    depths: Floats,  # [C, N]
    opacities: Floats,  # [C, N]
    radii: Ints,  # [C, N, 2]
    colors: Floats,  # [N, 3]
    height: int,
    records: Floats,  # [C, N, RECORD] out
    bands: Ints,  # [C, N, 2] out: first band and one past the last; equal where not drawn
) -> None:
    """Lay out what the compositing kernels read of a Gaussian in one cache line.

    On row y an ellipse's exponent is -sigma = -(x - xc)^2 / (2 vx) - (y - my)^2 / (2 yy) with
    xc = mx + (y - my) xy / yy: a form without the cancellation of the usual quadratic one. A
    record holds it in powers of two: mx, my, -log2(e) / (2 vx), xy / yy, -log2(e) / (2 yy),
    log2(opacity), r, g, b, depth, 2 vx / log2(e), the distance in rows at which alpha falls below
    1/255, and the opacity.
    """
    for n in prange(means2d.shape[1]):
        for c in range(means2d.shape[0]):
            bands[c, n, 0] = bands[c, n, 1] = 0
            if radii[c, n, 0] <= 0 or radii[c, n, 1] <= 0:
                continue
            yy = covars2d[c, n, 2]
            # A little more than exact, so that rounding here never decides: every pixel is tested.
            peak = math.log2(opacities[c, n])
            reach = math.sqrt((peak - LOG2_ALPHA_MIN + 1e-3) * yy * (2.0 / LOG2E))
            top = max(means2d[c, n, 1] - 0.5 - reach, 0.0)
            bottom = min(means2d[c, n, 1] - 0.5 + reach, height - 1.0)
            if top <= bottom:
                bands[c, n, 0] = int(top) // BAND_ROWS
                bands[c, n, 1] = int(bottom) // BAND_ROWS + 1
            precision = conics[c, n, 0] * np.float32(0.5 * LOG2E)
            precision = min(max(precision, np.float32(1e-30)), np.float32(1e30))
            record = records[c, n]
            record[0], record[1] = means2d[c, n, 0], means2d[c, n, 1]
            record[2] = -precision
            record[3] = covars2d[c, n, 1] / yy
            record[4] = np.float32(-0.5 * LOG2E) / yy
            record[5] = peak
            record[6], record[7], record[8] = colors[n, 0], colors[n, 1], colors[n, 2]
            record[9] = depths[c, n]
            record[10] = np.float32(1.0) / precision
            record[11] = reach
            record[12] = opacities[c, n]


@_kernel
def _sort(keys: NDArray[np.uint32], values: Ints) -> Ints:
    """`values` in the order of `keys`, ties as they were: least significant digit first."""
    n = len(keys)
    if n == 0:
        return values
    keys -= keys.min()
    largest = keys.max()
    mask = np.uint32((1 << DIGIT_BITS) - 1)
    other_keys, other_values = np.empty_like(keys), np.empty_like(values)
    for shift in range(0, 32, DIGIT_BITS):
        if largest >> np.uint32(shift) == 0:
            break
        starts = np.zeros((1 << DIGIT_BITS) + 1, np.int64)
        for i in range(n):
            starts[((keys[i] >> np.uint32(shift)) & mask) + 1] += 1
        starts = np.cumsum(starts)
        for i in range(n):
            digit = (keys[i] >> np.uint32(shift)) & mask
            other_keys[starts[digit]], other_values[starts[digit]] = keys[i], values[i]
            starts[digit] += 1
        keys, other_keys = other_keys, keys
        values, other_values = other_values, values
    return values


@_parallel
def sort_and_count(
    depths: Floats,  # [C, N]
    bands: Ints,  # [C, N, 2]
    order: Ints,  # [C, N] out: the Gaussians each camera sees, front to back; then garbage
    drawn: Longs,  # [C] out: how many those are
    slots: Ints,  # [C, N] out: how many pairs of Gaussian and band come before, in this camera
    band_counts: Longs,  # [C, B] out, zeroed: Gaussians in each band
) -> None:
    """Sort each camera's Gaussians by depth (ties by index, as gsplat) and count by band."""
    for c in prange(bands.shape[0]):
        seen = np.empty(bands.shape[1], np.int32)
        count = slot = 0
        for n in range(bands.shape[1]):
            first, end = bands[c, n, 0], bands[c, n, 1]
            slots[c, n] = slot
            slot += end - first
            for b in range(first, end):
                band_counts[c, b] += 1
            seen[count] = n
            count += end > first
        # Depths are positive, so their bits sort like integers.
        keys = depths[c].view(np.uint32)[seen[:count]]
        order[c, :count] = _sort(keys, seen[:count])
        drawn[c] = count


@_parallel
def fill_lists(
    order: Ints,
    drawn: Longs,
    bands: Ints,
    slots: Ints,  # [C, N] how many pairs of Gaussian and band come before, in all
    records: Floats,  # [C, N, RECORD]
    band_starts: Longs,  # [C, B] where each band's list starts; used up
    lists: Floats,  # [pairs, RECORD] out: records, front to back, band after band
    places: Ints,  # [pairs] out: by Gaussian, then band, where in `lists` that pair is
) -> None:
    """Write each band's list."""
    for c in prange(bands.shape[0]):
        for i in range(drawn[c]):
            n = order[c, i]
            first = bands[c, n, 0]
            for b in range(first, bands[c, n, 1]):
                place = band_starts[c, b]
                band_starts[c, b] = place + 1
                places[slots[c, n] + b - first] = place
                for k in range(RECORD):
                    lists[place, k] = records[c, n, k]


@_parallel
def gather_gradients(
    records: Floats,
    slots: Ints,
    bands: Ints,
    places: Ints,
    shares: Floats,
    v_means2d: Floats,  # [C, N, 2] out, as are all below
    v_covars2d: Floats,  # [C, N, 3]
    v_depths: Floats,  # [C, N]
    v_opacities: Floats,  # [C, N]
    v_colors: Floats,  # [N, 3]
    absolute: Floats,  # [C, N, 2]
) -> None:
    """Turn the moments of sigma's gradient into gradients, camera by camera, band by band.

    With q = inverse covariance times offset, d sigma / d mean = -q and d sigma / d covariance =
    -q q^T / 2; on a row q = (p x, e dy - slope p x), where p = 1 / vx and e = 1 / yy.
    """
    for n in prange(bands.shape[1]):
        red = green = blue = 0.0
        for c in range(bands.shape[0]):
            s0 = s1 = s2 = s0y = s1y = s0yy = depth = along_x = along_y = 0.0
            for slot in range(slots[c, n], slots[c, n] + bands[c, n, 1] - bands[c, n, 0]):
                share = shares[places[slot]]
                s0 += share[0]
                s1 += share[1]
                s2 += share[2]
                s0y += share[3]
                s1y += share[4]
                s0yy += share[5]
                red += share[6]
                green += share[7]
                blue += share[8]
                depth += share[9]
                along_x += share[10]
                along_y += share[11]
            p = e = slope = opacity = 1.0
            if bands[c, n, 1] > bands[c, n, 0]:
                p = records[c, n, 2] * (-2.0 / LOG2E)
                slope = np.float64(records[c, n, 3])
                e = records[c, n, 4] * (-2.0 / LOG2E)
                opacity = np.float64(records[c, n, 12])
            v_means2d[c, n, 0] = -p * s1
            v_means2d[c, n, 1] = slope * p * s1 - e * s0y
            qxx = p * p * s2
            qyx = p * e * s1y
            v_covars2d[c, n, 0] = -0.5 * qxx
            v_covars2d[c, n, 1] = slope * qxx - qyx
            v_covars2d[c, n, 2] = -0.5 * (e * e * s0yy - 2 * slope * qyx + slope * slope * qxx)
            v_opacities[c, n] = -s0 / opacity
            v_depths[c, n] = depth
            absolute[c, n, 0] = along_x * (2.0 / LOG2E)
            absolute[c, n, 1] = along_y * (2.0 / LOG2E)
        v_colors[n, 0], v_colors[n, 1], v_colors[n, 2] = red, green, blue
