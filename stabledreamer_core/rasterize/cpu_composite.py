"""Numba kernels: compositing the Gaussians of one band of rows, and the gradient of that.

3DGS (Kerbl et al. 2023), section 4 and appendix C, with gsplat 1.5.3's constants. A band's
Gaussians come front to back; each touches, row by row, only the pixels where its alpha can reach
1/255. Pixels are kept in blocks of LANES, a block's planes one after the other: offsets between
planes are then constants, and the compiler turns the inner loops into vector instructions without
having to prove that planes do not overlap.

The backward pass also goes front to back and computes the alphas again, so the forward pass stores
nothing per pixel but the pictures. With g_i = <v, features_i> and the remainder
R_i = <v, picture> - T v_alpha - sum_{j <= i} w_j g_j, that is all that is behind Gaussian i,

    dL / d alpha_i = T_i g_i - R_i / (1 - alpha_i).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

LANES = 16
BAND_ROWS = 16
FORWARD_PLANES = 6  # transmittance, r, g, b, depth, sum of weights
BACKWARD_PLANES = 6  # transmittance, remainder, gradients of r, g, b, depth
SUMS = 12  # per lane: 6 moments, r, g, b, depth, and two absolute sums

# Reassociation is left out: it would change the exponential below. Nothing assumes that numbers
# are finite: padding pixels and far lanes must stay harmless.
FAST = {"contract", "nsz", "arcp"}
LOG2_ALPHA_MIN = np.float32(-7.9943534)
ALPHA_MIN = np.float32(1.0 / 255.0)
ALPHA_MAX = np.float32(0.999)
TRANSMITTANCE_MIN = np.float32(1e-4)
DEPTH_ALPHA_MIN = np.float32(1e-10)

f32: Any = np.float32
i32: Any = np.int32
u64: Any = np.uint64
L1, L2, L3, L4, L5, L6, L7, L8, L9, L10, L11, L12 = (u64(LANES * k) for k in range(1, 13))

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

_kernel: Callable[..., Any] = njit(cache=True, fastmath=FAST, error_model="numpy")
_parallel: Callable[..., Any] = njit(cache=True, parallel=True, fastmath=FAST, error_model="numpy")
_exact: Callable[..., Any] = njit(cache=True, fastmath={"contract"})
_reassociating: Callable[..., Any] = njit(cache=True, fastmath=FAST | {"reassoc"})


@_kernel
def _aligned(size: int) -> Floats:
    """An uninitialised array that starts on a cache line: blocks then never straddle two."""
    memory = np.empty(size + LANES, np.float32)
    start = (-memory.ctypes.data % 64) // 4
    return memory[start : start + size]


@_exact
def exp2(t: float) -> float:
    """2^t for t <= 127, to 2e-7 relative: 2^round(t) by its bits, the rest by a polynomial.

    Below -60 it stays at 2^-60: that is far below 1/255, and no denormal slows the loop down.
    """
    t = max(t, f32(-60.0))
    k = i32(t - f32(0.5))
    x = t - f32(k)
    p = f32(1.5403530e-4)
    p = p * x + f32(1.3333558e-3)
    p = p * x + f32(9.6181291e-3)
    p = p * x + f32(5.5504109e-2)
    p = p * x + f32(2.4022651e-1)
    p = p * x + f32(6.9314718e-1)
    p = p * x + f32(1.0)
    return p * i32((k + i32(127)) << i32(23)).view(np.float32)


@_kernel
def _rows(record: Floats, top: int, rows: int) -> tuple[int, int]:
    """The band's rows that the Gaussian reaches: the first, and one past the last."""
    first = max(record[1] - f32(0.5) - record[11] - f32(top), f32(0.0))
    last = min(record[1] - f32(0.5) + record[11] - f32(top), f32(rows - 1))
    return int(first), int(last) + 1


@_kernel
def _row_span(record: Floats, y: int, width: int) -> tuple[int, int, float, float]:
    """First block, number of blocks (0: none), the first lane's offset, the row's peak exponent."""
    dy = f32(y) + f32(0.5) - record[1]
    peak = record[5] + record[4] * dy * dy
    # A little is added, so that rounding here never decides: the test of every pixel does.
    above = peak - LOG2_ALPHA_MIN + f32(1e-3)
    if not above > f32(0.0):
        return 0, 0, f32(0.0), peak
    half = math.sqrt(above * record[10])
    centre = record[0] + record[3] * dy - f32(0.5)
    low, high = max(centre - half, f32(0.0)), min(centre + half, f32(width - 1))
    if not low <= high:
        return 0, 0, f32(0.0), peak
    first = int(low) // LANES
    return first, int(high) // LANES - first + 1, f32(first * LANES) - centre, peak


@_kernel
def _draw_row(
    buffer: Floats, at: int, n_blocks: int, u: float, peak: float, record: Floats
) -> None:
    """Add one Gaussian to `n_blocks` blocks of a row."""
    curve, r, g, b, d = record[2], record[6], record[7], record[8], record[9]
    for _ in range(n_blocks):
        for lane in range(LANES):
            i = at + u64(lane)
            x = u + f32(lane)
            alpha = min(exp2(peak + curve * x * x), ALPHA_MAX)
            # A finished pixel's transmittance is stored negative: it then fails the second test.
            before = buffer[i]
            after = before - before * alpha
            faint = alpha < ALPHA_MIN
            drawn = (not faint) & (after > TRANSMITTANCE_MIN)
            weight = before * alpha if drawn else f32(0.0)
            buffer[i] = after if drawn else (before if faint else -abs(before))
            buffer[i + L1] += weight * r
            buffer[i + L2] += weight * g
            buffer[i + L3] += weight * b
            buffer[i + L4] += weight * d
            buffer[i + L5] += weight
        at += L6
        u += f32(LANES)


@_kernel
def _draw_band(members: Floats, top: int, rows: int, width: int, buffer: Floats) -> None:
    buffer[:] = 0.0
    buffer.reshape(-1, FORWARD_PLANES, LANES)[:, 0] = 1.0
    stride = u64(len(buffer) // BAND_ROWS)
    for record in members:
        first_row, end_row = _rows(record, top, rows)
        for row in range(first_row, end_row):
            first, n_blocks, u, peak = _row_span(record, top + row, width)
            if n_blocks > 0:
                at = u64(row) * stride + u64(first) * L6
                _draw_row(buffer, at, n_blocks, u, peak, record)


@_kernel
def _show_band(
    buffer: Floats,
    background: Floats,
    expected_depth: bool,
    renders: Floats,
    alphas: Floats,
    transmittances: Floats,
) -> None:
    """Copy a band to its rows of the pictures, over the background."""
    rows, width, channels = renders.shape
    stride = u64(len(buffer) // BAND_ROWS)
    for row in range(rows):
        for x in range(width):
            i = u64(row) * stride + u64(x // LANES) * L6 + u64(x % LANES)
            left = abs(buffer[i])
            # Alpha is also 1 - left, but for faint pixels that has few digits.
            alpha = buffer[i + L5]
            transmittances[row, x] = left
            alphas[row, x, 0] = alpha
            renders[row, x, 0] = buffer[i + L1] + left * background[0]
            renders[row, x, 1] = buffer[i + L2] + left * background[1]
            renders[row, x, 2] = buffer[i + L3] + left * background[2]
            if channels == 4:
                shown = max(alpha, DEPTH_ALPHA_MIN) if expected_depth else f32(1.0)
                renders[row, x, 3] = buffer[i + L4] / shown


@_parallel
def composite(
    lists: Floats,  # [pairs, RECORD]
    list_ends: Longs,  # [C * B] past each band's list
    backgrounds: Floats,  # [C, 3]
    expected_depth: bool,
    workers: int,
    renders: Floats,  # [C, H, W, 3 or 4] out
    alphas: Floats,  # [C, H, W, 1] out
    transmittances: Floats,  # [C, H, W] out: 1 - alpha
) -> None:
    """Fill the pictures; band after band, each worker takes every `workers`-th."""
    n_cameras, height, width, _ = renders.shape
    n_bands = len(list_ends) // n_cameras
    for worker in prange(workers):
        buffer = _aligned(BAND_ROWS * ((width + LANES - 1) // LANES) * LANES * FORWARD_PLANES)
        for task in range(worker, len(list_ends), workers):
            camera, top = task // n_bands, (task % n_bands) * BAND_ROWS
            end = min(top + BAND_ROWS, height)
            start = list_ends[task - 1] if task > 0 else 0
            _draw_band(lists[start : list_ends[task]], top, end - top, width, buffer)
            _show_band(
                buffer,
                backgrounds[camera],
                expected_depth,
                renders[camera, top:end],
                alphas[camera, top:end],
                transmittances[camera, top:end],
            )


@_kernel
def _draw_row_backward(
    buffer: Floats,
    at: int,
    n_blocks: int,
    u: float,
    peak: float,
    record: Floats,
    dy: float,
    absgrad: bool | None,
    sums: Floats,
) -> None:
    """Add this row's share, lane by lane, to the sums that make up one Gaussian's gradient."""
    curve, r, g, b, d = record[2], record[6], record[7], record[8], record[9]
    dy2 = dy * dy
    slope, to_y = record[3], record[4] * dy
    for _ in range(n_blocks):
        for lane in range(LANES):
            i = at + u64(lane)
            j = u64(lane)
            x = u + f32(lane)
            raw = exp2(peak + curve * x * x)
            alpha = min(raw, ALPHA_MAX)
            before = buffer[i]
            after = before - before * alpha
            faint = alpha < ALPHA_MIN
            drawn = (not faint) & (after > TRANSMITTANCE_MIN)
            weight = before * alpha if drawn else f32(0.0)
            buffer[i] = after if drawn else (before if faint else -abs(before))

            vr, vg, vb, vd = buffer[i + L2], buffer[i + L3], buffer[i + L4], buffer[i + L5]
            inner = vr * r + vg * g + vb * b + vd * d
            behind = buffer[i + L1] - weight * inner
            buffer[i + L1] = behind
            v_alpha = before * inner - behind / (f32(1.0) - alpha)
            v_sigma = -raw * v_alpha if drawn & (raw <= ALPHA_MAX) else f32(0.0)

            moment = v_sigma * x
            sums[j] += v_sigma
            sums[j + L1] += moment
            sums[j + L2] += moment * x
            sums[j + L3] += v_sigma * dy
            sums[j + L4] += moment * dy
            sums[j + L5] += v_sigma * dy2
            sums[j + L6] += weight * vr
            sums[j + L7] += weight * vg
            sums[j + L8] += weight * vb
            sums[j + L9] += weight * vd
            if absgrad is not None:
                sums[j + L10] += abs(moment * curve)
                sums[j + L11] += abs(v_sigma * (to_y - slope * curve * x))
        at += L6
        u += f32(LANES)


@_reassociating
def _add_lanes(lane_sums: Floats, share: Floats) -> None:
    for k in range(SUMS):
        total = f32(0.0)
        for lane in range(LANES):
            total += lane_sums[k, lane]
        share[k] = total


@_kernel
def _draw_band_backward(
    members: Floats,
    top: int,
    rows: int,
    width: int,
    buffer: Floats,
    absgrad: bool | None,
    shares: Floats,
) -> None:
    stride = u64(len(buffer) // BAND_ROWS)
    sums = _aligned(SUMS * LANES)
    lane_sums = sums.reshape(SUMS, LANES)
    for k in range(len(members)):
        record = members[k]
        sums[:] = 0.0
        first_row, end_row = _rows(record, top, rows)
        for row in range(first_row, end_row):
            first, n_blocks, u, peak = _row_span(record, top + row, width)
            if n_blocks > 0:
                at = u64(row) * stride + u64(first) * L6
                dy = f32(top + row) + f32(0.5) - record[1]
                _draw_row_backward(buffer, at, n_blocks, u, peak, record, dy, absgrad, sums)
        _add_lanes(lane_sums, shares[k])


@_kernel
def _start_band(
    renders: Floats,
    alphas: Floats,
    transmittances: Floats,
    v_renders: Floats,
    v_alphas: Floats,
    expected_depth: bool,
    buffer: Floats,
) -> None:
    """Set a band's transmittance to 1, its gradients, and the remainder to R_0."""
    rows, width, channels = renders.shape
    buffer[:] = 0.0
    buffer.reshape(-1, BACKWARD_PLANES, LANES)[:, 0] = 1.0
    stride = u64(len(buffer) // BAND_ROWS)
    for row in range(rows):
        for x in range(width):
            i = u64(row) * stride + u64(x // LANES) * L6 + u64(x % LANES)
            left, alpha, v_alpha = transmittances[row, x], alphas[row, x, 0], v_alphas[row, x, 0]
            vr, vg, vb = v_renders[row, x, 0], v_renders[row, x, 1], v_renders[row, x, 2]
            inner = vr * renders[row, x, 0] + vg * renders[row, x, 1] + vb * renders[row, x, 2]
            buffer[i + L2], buffer[i + L3], buffer[i + L4] = vr, vg, vb
            if channels == 4:
                vd, depth = v_renders[row, x, 3], renders[row, x, 3]
                inner += vd * depth
                if expected_depth:
                    # Depth is a quotient: part of its gradient goes to alpha.
                    vd /= max(alpha, DEPTH_ALPHA_MIN)
                    v_alpha -= vd * depth if alpha > DEPTH_ALPHA_MIN else f32(0.0)
                buffer[i + L5] = vd
            buffer[i + L1] = inner - left * v_alpha


@_parallel
def composite_backward(
    lists: Floats,
    list_ends: Longs,
    expected_depth: bool,
    absgrad: bool | None,
    workers: int,
    renders: Floats,
    alphas: Floats,
    transmittances: Floats,
    v_renders: Floats,
    v_alphas: Floats,
    shares: Floats,  # [pairs, SUMS] out: by place in `lists`
) -> None:
    """Leave each Gaussian's sums over each band in its place there."""
    n_cameras, height, width, _ = renders.shape
    n_bands = len(list_ends) // n_cameras
    for worker in prange(workers):
        buffer = _aligned(BAND_ROWS * ((width + LANES - 1) // LANES) * LANES * BACKWARD_PLANES)
        for task in range(worker, len(list_ends), workers):
            camera, top = task // n_bands, (task % n_bands) * BAND_ROWS
            end = min(top + BAND_ROWS, height)
            _start_band(
                renders[camera, top:end],
                alphas[camera, top:end],
                transmittances[camera, top:end],
                v_renders[camera, top:end],
                v_alphas[camera, top:end],
                expected_depth,
                buffer,
            )
            members = slice(list_ends[task - 1] if task > 0 else 0, list_ends[task])
            _draw_band_backward(
                lists[members], top, end - top, width, buffer, absgrad, shares[members]
            )
