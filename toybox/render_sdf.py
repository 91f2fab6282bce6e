"""Signed distances of the five solids, and rays against them: the only source of both.

Compiled by numba for the CPU; CUDA kernels call the same functions, which numba then compiles
for the device. Everything is float32: constants are wrapped, since a bare 0.5 would promote to
float64. A row is one part, laid out as `geometry.py` says; distances of the rounded solids are
exact, those of ellipsoids and slanted cones with round edges are close (the surface is exact).
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import njit

from toybox.geometry_parts import BOX, CONE, ELLIPSOID, LIMB

# "afn", "nnan" and the like are left out: distances compare against infinities.
MATH = {"contract", "arcp", "nsz"}

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
TINY = np.float32(1e-12)
FAR = np.float32(1e9)
STEPS = 32
HIT = np.float32(6e-4)
OFFSET = np.float32(2e-3)


def device_function(function: Any) -> Any:
    """Compile for the CPU (cached on disk); callable from CUDA kernels too."""
    return njit(function, fastmath=MATH, cache=True, error_model="numpy")


@device_function
def local_distance(row, x, y, z):  # type: ignore[no-untyped-def]
    """Signed distance from (x, y, z), in the part's own frame, to the part."""
    kind = int(row[0])
    a, b, c, d = row[13], row[14], row[15], row[16]
    if kind == ELLIPSOID:
        u, v, w = x / a, y / b, z / c
        k0 = sqrt(u * u + v * v + w * w)
        u, v, w = u / a, v / b, w / c
        k1 = sqrt(u * u + v * v + w * w)
        if k1 < TINY:
            return -min(a, min(b, c))
        return k0 * (k0 - ONE) / k1
    if kind == BOX:
        u, v, w = abs(x) - a + d, abs(y) - b + d, abs(z) - c + d
        inside = min(max(u, max(v, w)), ZERO)
        u, v, w = max(u, ZERO), max(v, ZERO), max(w, ZERO)
        return sqrt(u * u + v * v + w * w) + inside - d
    flat = sqrt(x * x + y * y)
    if kind == LIMB:
        height = TWO * c
        up = z + c
        slope = (a - b) / height
        if abs(slope) >= ONE:  # one end ball holds the other
            lower = sqrt(flat * flat + up * up) - a
            upper = sqrt(flat * flat + (z - c) * (z - c)) - b
            return min(lower, upper)
        across = sqrt(ONE - slope * slope)
        along = across * up - slope * flat
        if along < ZERO:
            return sqrt(flat * flat + up * up) - a
        if along > across * height:
            return sqrt(flat * flat + (z - c) * (z - c)) - b
        return flat * across + up * slope - a
    if kind == CONE:
        low, high, half = a - d, b - d, c - d
        nearest = low if z < ZERO else high
        u = flat - min(flat, nearest)
        v = abs(z) - half
        lean = high - low
        rise = TWO * half
        share = ((high - flat) * lean + (half - z) * rise) / (lean * lean + rise * rise)
        share = min(max(share, ZERO), ONE)
        p = flat - high + lean * share
        q = z - half + rise * share
        squared = min(u * u + v * v, p * p + q * q)
        if p < ZERO and v < ZERO:
            return -sqrt(squared) - d
        return sqrt(squared) - d
    u = flat - a
    v = max(abs(z) - c, ZERO)
    return sqrt(u * u + v * v) - b


@device_function
def into_frame(row, x, y, z):  # type: ignore[no-untyped-def]
    """A direction of the toy's frame, in the part's frame."""
    return (
        row[4] * x + row[7] * y + row[10] * z,
        row[5] * x + row[8] * y + row[11] * z,
        row[6] * x + row[9] * y + row[12] * z,
    )


@device_function
def distance(rows, count, x, y, z):  # type: ignore[no-untyped-def]
    """Signed distance to the union of the parts, and which part is nearest."""
    best, nearest = FAR, 0
    for k in range(count):
        row = rows[k]
        u, v, w = into_frame(row, x - row[1], y - row[2], z - row[3])
        here = local_distance(row, u, v, w)
        if here < best:
            best, nearest = here, k
    return best, nearest


@device_function
def hit_part(row, ox, oy, oz, dx, dy, dz, start, end):  # type: ignore[no-untyped-def]
    """Ray parameter where the ray first meets the part between start and end, or FAR.

    The ray is in the part's frame. Ellipsoids are solved, the others sphere traced.
    """
    if int(row[0]) == ELLIPSOID:
        ia, ib, ic = ONE / row[13], ONE / row[14], ONE / row[15]
        ux, uy, uz = ox * ia, oy * ib, oz * ic
        vx, vy, vz = dx * ia, dy * ib, dz * ic
        vv = vx * vx + vy * vy + vz * vz
        uv = (ux * vx + uy * vy + uz * vz) / vv
        # the ray's point nearest to the middle, computed first: no cancellation
        px, py, pz = ux - uv * vx, uy - uv * vy, uz - uv * vz
        room = ONE - (px * px + py * py + pz * pz)
        if room < ZERO:
            return FAR
        t = -uv - sqrt(room / vv)
        return t if t > ZERO else FAR
    t = start
    for _ in range(STEPS):
        gap = local_distance(row, ox + t * dx, oy + t * dy, oz + t * dz)
        t += gap
        if gap < HIT:
            return t
        if t > end:
            return FAR
    return FAR


@device_function
def first_hit(rows, count, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """The nearest hit of a ray (unit direction) with the parts: parameter (or FAR) and part.

    Each part is tried alone and in its own frame, and only if the ray meets its bounding ball
    before the best hit so far: most rays meet two or three of twenty.
    """
    best, part = FAR, -1
    for k in range(count):
        row = rows[k]
        cx, cy, cz = row[1] - ox, row[2] - oy, row[3] - oz
        middle = cx * dx + cy * dy + cz * dz
        px, py, pz = cx - middle * dx, cy - middle * dy, cz - middle * dz
        bound = row[17]
        room = bound * bound - (px * px + py * py + pz * pz)
        if room <= ZERO:
            continue
        half = sqrt(room)
        start = max(middle - half, ZERO)
        if start >= best or middle + half <= ZERO:
            continue
        lx, ly, lz = into_frame(row, -cx, -cy, -cz)
        ex, ey, ez = into_frame(row, dx, dy, dz)
        t = hit_part(row, lx, ly, lz, ex, ey, ez, start, min(middle + half, best))
        if t < best:
            best, part = t, k
    return best, part


@device_function
def normal(row, x, y, z):  # type: ignore[no-untyped-def]
    """Unit outward normal of a part at a point of its surface, all in the toy's frame."""
    u, v, w = into_frame(row, x - row[1], y - row[2], z - row[3])
    if int(row[0]) == ELLIPSOID:
        nx = u / (row[13] * row[13])
        ny = v / (row[14] * row[14])
        nz = w / (row[15] * row[15])
    else:  # differences at the corners of a tetrahedron
        a = local_distance(row, u + OFFSET, v - OFFSET, w - OFFSET)
        b = local_distance(row, u - OFFSET, v - OFFSET, w + OFFSET)
        c = local_distance(row, u - OFFSET, v + OFFSET, w - OFFSET)
        d = local_distance(row, u + OFFSET, v + OFFSET, w + OFFSET)
        nx, ny, nz = a - b - c + d, c + d - a - b, b + d - a - c
    scale = ONE / sqrt(nx * nx + ny * ny + nz * nz + TINY)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    return (
        row[4] * nx + row[5] * ny + row[6] * nz,
        row[7] * nx + row[8] * ny + row[9] * nz,
        row[10] * nx + row[11] * ny + row[12] * nz,
    )
