"""Toybox's tracer: distances of the five solids, rays against them, pixels, and the CPU's loops.

The one source for both devices: CUDA kernels call these functions too. All in one file because
numba's cache on disk notices changes of a function's own file only. Everything is float32:
constants are wrapped, since a bare 0.5 would promote to float64. A row is one part, laid out as
`geometry.py` says. Distances are exact but for ellipsoids and slanted cones with round edges,
where they are close; the surface (distance zero) is exact for all.
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import njit, prange

from toybox.geometry_parts import BOX, CONE, ELLIPSOID, LIMB

# "nnan", "ninf" and "afn" are left out: distances compare against infinities.
MATH = {"contract", "arcp", "nsz"}

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
TINY = np.float32(1e-12)
FAR = np.float32(1e9)
STEPS = 64
HIT = np.float32(6e-4)
GRAZE = np.float32(4e-3)
OFFSET = np.float32(2e-3)

# the light is fixed in the world, up and to the front left, and wraps around the toy
_light = np.array([0.55, 0.35, 0.76])
_light /= np.linalg.norm(_light)
LIGHT_X, LIGHT_Y, LIGHT_Z = (np.float32(component) for component in _light)
AMBIENT, DIFFUSE = np.float32(0.58), np.float32(0.42)


device_function: Any = njit(fastmath=MATH, cache=True, error_model="numpy")
over_the_cores: Any = njit(fastmath=MATH, cache=True, error_model="numpy", parallel=True)


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
def slab(o, d, half):  # type: ignore[no-untyped-def]
    """Where a ray's coordinate o + t d enters and leaves [-half, half]."""
    inverse = ONE / (d if abs(d) > TINY else TINY)
    near, far = (-half - o) * inverse, (half - o) * inverse
    return min(near, far), max(near, far)


@device_function
def hit_part(row, ox, oy, oz, dx, dy, dz, start, end):  # type: ignore[no-untyped-def]
    """Ray parameter where the ray first meets the part between start and end, or FAR.

    The ray is in the part's frame. Ellipsoids are solved; the others are sphere traced, boxes
    from where the ray meets the sharp box around them. A ray that runs out of steps close to the
    surface grazes it.
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
    if int(row[0]) == BOX:
        t0, t1 = slab(ox, dx, row[13])
        t2, t3 = slab(oy, dy, row[14])
        t4, t5 = slab(oz, dz, row[15])
        t = max(t, max(t0, max(t2, t4)))
        end = min(end, min(t1, min(t3, t5)))
        if t > end:
            return FAR
    gap = FAR
    for _ in range(STEPS):
        gap = local_distance(row, ox + t * dx, oy + t * dy, oz + t * dz)
        t += gap
        if gap < HIT:
            return t
        if t > end:
            return FAR
    return t if gap < GRAZE else FAR


@device_function
def first_hit(rows, count, ox, oy, oz, dx, dy, dz):  # type: ignore[no-untyped-def]
    """The nearest hit of a ray (unit direction): parameter (or FAR) and part (or -1).

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


@device_function
def shade(rows, x, y, z, part):  # type: ignore[no-untyped-def]
    """Brightness of a part's surface point: 0.58 + 0.42 (1 + n . l) / 2."""
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


@over_the_cores
def fill_images(  # type: ignore[no-untyped-def]
    rows, slots, counts, geometry, palettes, cameras, backgrounds, samples, images, alphas
):
    """Fill images [n, 3, R, R] and alphas [n, 1, R, R] (float32).

    Args:
        rows, slots, counts: a `geometry.Bank`'s arrays.
        geometry: [n] int32, which of the bank's shapes.
        palettes: [n, S, 3]; cameras: [n, 13] (see `pixel`); backgrounds: [n, 3].
        samples: samples a side of a pixel.
    """
    size = images.shape[2]
    middle = np.float32(size) * HALF
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


@over_the_cores
def fill_distances(rows, points, distances, nearest):  # type: ignore[no-untyped-def]
    """Fill distances [K] and nearest parts [K] of points [K, 3]."""
    for k in prange(len(points)):
        x, y, z = points[k, 0], points[k, 1], points[k, 2]
        distances[k], nearest[k] = distance(rows, len(rows), x, y, z)
