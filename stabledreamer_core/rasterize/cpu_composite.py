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
PLANES = 6  # going forward: transmittance, r, g, b, depth, sum of weights
#             going back: transmittance, remainder, gradients of r, g, b, depth
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
Pictures = tuple[Floats, Floats, Floats]
Gradients = tuple[Floats, Floats]
Band = tuple[int, int, int]

_kernel: Callable[..., Any] = njit(cache=True, fastmath=FAST, error_model="numpy")
_parallel: Callable[..., Any] = njit(cache=True, parallel=True, fastmath=FAST, error_model="numpy")
_exact: Callable[..., Any] = njit(cache=True, fastmath={"contract"})
_reassociating: Callable[..., Any] = njit(cache=True, fastmath=FAST | {"reassoc"})


@_exact
def exp2(t: float) -> float:
    """2^t for t <= 127, to 2e-7 relative: 2^round(t) by its bits, the rest by a polynomial.

    Below -60 it stays at 2^-60: that is far below 1/255, and no denormal slows the loop down.
    """
    t = max(t, f32(-60.0))
    k = i32(t - f32(0.5))
    x = t - f32(k)
    p = (f32(1.5403530e-4) * x + f32(1.3333558e-3)) * x + f32(9.6181291e-3)
    p = ((p * x + f32(5.5504109e-2)) * x + f32(2.4022651e-1)) * x + f32(6.9314718e-1)
    p = p * x + f32(1.0)
    return p * i32((k + i32(127)) << i32(23)).view(np.float32)


@_kernel
def _band(task: int, n_bands: int, height: int) -> Band:
    """Camera, first row, one past the last row."""
    top = (task % n_bands) * BAND_ROWS
    return task // n_bands, top, min(top + BAND_ROWS, height)


@_kernel
def _rows(record: Floats, at: Band) -> tuple[int, int]:
    """The band's rows that the Gaussian reaches: the first, and one past the last."""
    first = max(record[1] - f32(0.5) - record[11], f32(at[1]))
    last = min(record[1] - f32(0.5) + record[11], f32(at[2] - 1))
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
def _meet(before: Any, raw: Any) -> tuple[Any, Any, Any, Any]:
    """One Gaussian at one pixel: its alpha, whether it is drawn, its weight, what is left.

    A finished pixel's transmittance is stored negative: it then fails the second test for ever.
    """
    alpha = min(raw, ALPHA_MAX)
    after = before - before * alpha
    faint = alpha < ALPHA_MIN
    drawn = (not faint) & (after > TRANSMITTANCE_MIN)
    left = after if drawn else (before if faint else -abs(before))
    return alpha, drawn, (before * alpha if drawn else f32(0.0)), left


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
            _, _, weight, buffer[i] = _meet(buffer[i], exp2(peak + curve * x * x))
            buffer[i + L1] += weight * r
            buffer[i + L2] += weight * g
            buffer[i + L3] += weight * b
            buffer[i + L4] += weight * d
            buffer[i + L5] += weight
        at += L6
        u += f32(LANES)


@_kernel
def _draw_band(members: Floats, at: Band, width: int, buffer: Floats) -> None:
    buffer[:] = 0.0
    buffer.reshape(-1, PLANES, LANES)[:, 0] = 1.0
    stride = u64(len(buffer) // BAND_ROWS)
    for record in members:
        first_row, end_row = _rows(record, at)
        for y in range(first_row, end_row):
            first, n_blocks, u, peak = _row_span(record, y, width)
            if n_blocks > 0:
                start = u64(y - at[1]) * stride + u64(first) * L6
                _draw_row(buffer, start, n_blocks, u, peak, record)


@_kernel
def _show_band(
    buffer: Floats, at: Band, backgrounds: Floats, expected_depth: bool, pictures: Pictures
) -> None:
    """Copy a band to its rows of the pictures, over the background."""
    renders, alphas, transmittances = pictures
    c, top, end = at
    stride = u64(len(buffer) // BAND_ROWS)
    for y in range(top, end):
        for x in range(renders.shape[2]):
            i = u64(y - top) * stride + u64(x // LANES) * L6 + u64(x % LANES)
            left = abs(buffer[i])
            # Alpha is also 1 - left, but for faint pixels that has few digits.
            alpha = buffer[i + L5]
            alphas[c, y, x, 0] = alpha
            transmittances[c, y, x] = left
            renders[c, y, x, 0] = buffer[i + L1] + left * backgrounds[c, 0]
            renders[c, y, x, 1] = buffer[i + L2] + left * backgrounds[c, 1]
            renders[c, y, x, 2] = buffer[i + L3] + left * backgrounds[c, 2]
            if renders.shape[3] == 4:
                shown = max(alpha, DEPTH_ALPHA_MIN) if expected_depth else f32(1.0)
                renders[c, y, x, 3] = buffer[i + L4] / shown


@_parallel
def composite(
    lists: Floats,  # [pairs, RECORD]
    bounds: Longs,  # [C * B + 1] a band's list lies between two of them
    backgrounds: Floats,  # [C, 3]
    expected_depth: bool,
    buffers: Floats,  # [workers, BAND_ROWS * W rounded up to LANES * PLANES], aligned
    pictures: Pictures,  # out: [C, H, W, 3 or 4], alphas [C, H, W, 1], 1 - alphas [C, H, W]
) -> None:
    """Fill the pictures. Of the bands each worker takes every `workers`-th."""
    n_cameras, height, width, _ = pictures[0].shape
    n_tasks = len(bounds) - 1
    workers = len(buffers)
    for worker in prange(workers):
        buffer = buffers[worker]
        for task in range(worker, n_tasks, workers):
            at = _band(task, n_tasks // n_cameras, height)
            members = lists[bounds[task] : bounds[task + 1]]
            _draw_band(members, at, width, buffer)
            _show_band(buffer, at, backgrounds, expected_depth, pictures)


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
            before = buffer[i]
            alpha, drawn, weight, buffer[i] = _meet(before, raw)
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
    at: Band,
    width: int,
    buffer: Floats,
    sums: Floats,
    absgrad: bool | None,
    shares: Floats,
) -> None:
    stride = u64(len(buffer) // BAND_ROWS)
    for k in range(len(members)):
        record = members[k]
        sums[:] = 0.0
        first_row, end_row = _rows(record, at)
        for y in range(first_row, end_row):
            first, n_blocks, u, peak = _row_span(record, y, width)
            if n_blocks > 0:
                start = u64(y - at[1]) * stride + u64(first) * L6
                dy = f32(y) + f32(0.5) - record[1]
                _draw_row_backward(buffer, start, n_blocks, u, peak, record, dy, absgrad, sums)
        _add_lanes(sums.reshape(SUMS, LANES), shares[k])


@_kernel
def _start_band(
    buffer: Floats, at: Band, expected_depth: bool, pictures: Pictures, gradients: Gradients
) -> None:
    """Set a band's transmittance to 1, its gradients, and the remainder to R_0."""
    renders, alphas, transmittances = pictures
    v_renders, v_alphas = gradients
    c, top, end = at
    buffer[:] = 0.0
    buffer.reshape(-1, PLANES, LANES)[:, 0] = 1.0
    stride = u64(len(buffer) // BAND_ROWS)
    for y in range(top, end):
        for x in range(renders.shape[2]):
            i = u64(y - top) * stride + u64(x // LANES) * L6 + u64(x % LANES)
            vr, vg, vb = v_renders[c, y, x, 0], v_renders[c, y, x, 1], v_renders[c, y, x, 2]
            inner = vr * renders[c, y, x, 0] + vg * renders[c, y, x, 1] + vb * renders[c, y, x, 2]
            buffer[i + L2], buffer[i + L3], buffer[i + L4] = vr, vg, vb
            v_alpha = v_alphas[c, y, x, 0]
            if renders.shape[3] == 4:
                vd, depth = v_renders[c, y, x, 3], renders[c, y, x, 3]
                inner += vd * depth
                if expected_depth:
                    # Depth is a quotient: part of its gradient goes to alpha.
                    alpha = alphas[c, y, x, 0]
                    vd /= max(alpha, DEPTH_ALPHA_MIN)
                    v_alpha -= vd * depth if alpha > DEPTH_ALPHA_MIN else f32(0.0)
                buffer[i + L5] = vd
            buffer[i + L1] = inner - transmittances[c, y, x] * v_alpha


@_parallel
def composite_backward(
    lists: Floats,
    bounds: Longs,
    expected_depth: bool,
    absgrad: bool | None,
    buffers: Floats,
    sums: Floats,  # [workers, SUMS * LANES], aligned
    pictures: Pictures,
    gradients: Gradients,  # of renders and alphas
    shares: Floats,  # [pairs, SUMS] out: by place in `lists`
) -> None:
    """Leave each Gaussian's sums over each band in its place there."""
    n_cameras, height, width, _ = pictures[0].shape
    n_tasks = len(bounds) - 1
    workers = len(buffers)
    for worker in prange(workers):
        buffer = buffers[worker]
        for task in range(worker, n_tasks, workers):
            at = _band(task, n_tasks // n_cameras, height)
            _start_band(buffer, at, expected_depth, pictures, gradients)
            own = slice(bounds[task], bounds[task + 1])
            _draw_band_backward(lists[own], at, width, buffer, sums[worker], absgrad, shares[own])
