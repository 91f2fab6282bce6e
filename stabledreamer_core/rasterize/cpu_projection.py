"""Numba kernels: 3D Gaussians to ellipses in the image, and the gradient of that.

EWA splatting (Zwicker et al. 2001) as gsplat 1.5.3 does it. Scalars are float64 inside: the
determinant of a needle's covariance cancels badly in float32, and scalar code costs the same.
One iteration owns one Gaussian and visits the cameras in order, so sums do not depend on the
number of threads.

Each file of kernels calls only functions of its own: numba's cache on disk notices a change of the
file a kernel is in, but not of the files it calls.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

ALPHA_MIN = 1.0 / 255.0  # a contribution below this is left out
EXTENT_MAX = 3.33  # standard deviations; exp(-3.33^2 / 2) is just below 1/255
SIZE_MAX = 1e30  # pixels squared; beyond this float32 overflows

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Nine = tuple[float, float, float, float, float, float, float, float, float]

_kernel: Callable[..., Any] = njit(cache=True, error_model="numpy")
_parallel: Callable[..., Any] = njit(cache=True, parallel=True, error_model="numpy")


@_kernel
def _rotation(w: float, x: float, y: float, z: float) -> Nine:
    """The rotation matrix of a unit quaternion, row by row."""
    return (
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    )


@_kernel
def _rotation_gradient(w: float, x: float, y: float, z: float, v: Nine) -> tuple[float, ...]:
    """The gradient of a unit quaternion from that of its rotation matrix, on the unit sphere."""
    v00, v01, v02, v10, v11, v12, v20, v21, v22 = v
    vw = 2 * (x * (v21 - v12) + y * (v02 - v20) + z * (v10 - v01))
    vx = 2 * (y * (v01 + v10) + z * (v02 + v20) + w * (v21 - v12) - 2 * x * (v11 + v22))
    vy = 2 * (x * (v01 + v10) + z * (v12 + v21) + w * (v02 - v20) - 2 * y * (v00 + v22))
    vz = 2 * (x * (v02 + v20) + y * (v12 + v21) + w * (v10 - v01) - 2 * z * (v00 + v11))
    along = w * vw + x * vx + y * vy + z * vz
    return vw - w * along, vx - x * along, vy - y * along, vz - z * along


@_kernel
def _product(V: Doubles, r: Nine) -> Nine:
    """The camera's rotation times the Gaussian's, row by row."""
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = r
    return (
        V[0, 0] * r00 + V[0, 1] * r10 + V[0, 2] * r20,
        V[0, 0] * r01 + V[0, 1] * r11 + V[0, 2] * r21,
        V[0, 0] * r02 + V[0, 1] * r12 + V[0, 2] * r22,
        V[1, 0] * r00 + V[1, 1] * r10 + V[1, 2] * r20,
        V[1, 0] * r01 + V[1, 1] * r11 + V[1, 2] * r21,
        V[1, 0] * r02 + V[1, 1] * r12 + V[1, 2] * r22,
        V[2, 0] * r00 + V[2, 1] * r10 + V[2, 2] * r20,
        V[2, 0] * r01 + V[2, 1] * r11 + V[2, 2] * r21,
        V[2, 0] * r02 + V[2, 1] * r12 + V[2, 2] * r22,
    )


@_kernel
def _slopes(K: Doubles, x: float, y: float, z: float, width: int, height: int) -> tuple:
    """x/z and y/z kept within 30 % outside the picture, and whether they had to be."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    sx = min(max(x / z, -cx / fx - margin_x), (width - cx) / fx + margin_x)
    sy = min(max(y / z, -cy / fy - margin_y), (height - cy) / fy + margin_y)
    return sx, sy, sx == x / z, sy == y / z


@_parallel
def project(
    means: Doubles,  # [N, 3]
    quats: Doubles,  # [N, 4]
    scales: Doubles,  # [N, 3]
    opacities: Doubles,  # [N]
    viewmats: Doubles,  # [C, 4, 4]
    Ks: Doubles,  # [C, 3, 3]
    size: tuple[int, int],
    planes: tuple[float, float],
    eps2d: float,
    antialiased: bool,
    means2d: Floats,  # [C, N, 2] out, zeroed, as are all below
    covars2d: Floats,  # [C, N, 3] out: xx, xy, yy, widened by eps2d
    conics: Floats,  # [C, N, 3] out: its inverse
    depths: Floats,  # [C, N] out
    opacities2d: Floats,  # [C, N] out
    radii: Ints,  # [C, N, 2] out
) -> None:
    """Fill the outputs where a Gaussian is seen; elsewhere they stay 0."""
    width, height = size
    for n in prange(means.shape[0]):
        m0, m1, m2 = means[n, 0], means[n, 1], means[n, 2]
        s0, s1, s2 = scales[n, 0], scales[n, 1], scales[n, 2]
        w, x, y, z = quats[n, 0], quats[n, 1], quats[n, 2], quats[n, 3]
        norm = math.sqrt(w * w + x * x + y * y + z * z)
        r = _rotation(w / norm, x / norm, y / norm, z / norm)
        for c in range(viewmats.shape[0]):
            V, K = viewmats[c], Ks[c]
            cz = V[2, 0] * m0 + V[2, 1] * m1 + V[2, 2] * m2 + V[2, 3]
            # Tests are written so that a value that is not a number fails them.
            if not (cz >= planes[0] and cz <= planes[1]):
                continue
            cx = V[0, 0] * m0 + V[0, 1] * m1 + V[0, 2] * m2 + V[0, 3]
            cy = V[1, 0] * m0 + V[1, 1] * m1 + V[1, 2] * m2 + V[1, 3]
            sx, sy, _, _ = _slopes(K, cx, cy, cz, width, height)
            p0, p1, p2, p3, p4, p5, p6, p7, p8 = _product(V, r)
            jx, jy = K[0, 0] / cz, K[1, 1] / cz
            h0, h1, h2 = p0 - sx * p6, p1 - sx * p7, p2 - sx * p8
            k0, k1, k2 = p3 - sy * p6, p4 - sy * p7, p5 - sy * p8
            t0, t1, t2 = jx * h0 * s0, jx * h1 * s1, jx * h2 * s2
            u0, u1, u2 = jy * k0 * s0, jy * k1 * s1, jy * k2 * s2
            xx = t0 * t0 + t1 * t1 + t2 * t2
            xy = t0 * u0 + t1 * u1 + t2 * u2
            yy = u0 * u0 + u1 * u1 + u2 * u2
            sharp = max(xx * yy - xy * xy, 0.0)
            determinant = sharp + eps2d * (xx + yy) + eps2d * eps2d
            xx, yy = xx + eps2d, yy + eps2d
            if not (determinant > 0.0 and xx < SIZE_MAX and yy < SIZE_MAX):
                continue
            opacity = opacities[n]
            if antialiased:
                opacity *= math.sqrt(sharp / determinant)
            if not (opacity >= ALPHA_MIN and opacity < SIZE_MAX):
                continue

            # Where alpha reaches 1/255 (Radl et al. 2024, appendix B.2).
            extent = min(EXTENT_MAX, math.sqrt(2.0 * math.log(opacity / ALPHA_MIN)))
            rx, ry = math.ceil(extent * math.sqrt(xx)), math.ceil(extent * math.sqrt(yy))
            px, py = K[0, 0] * cx / cz + K[0, 2], K[1, 1] * cy / cz + K[1, 2]
            if not (px + rx > 0 and px - rx < width and py + ry > 0 and py - ry < height):
                continue
            if rx <= 0 and ry <= 0:
                continue
            means2d[c, n, 0], means2d[c, n, 1] = px, py
            covars2d[c, n, 0], covars2d[c, n, 1], covars2d[c, n, 2] = xx, xy, yy
            conics[c, n, 0] = yy / determinant
            conics[c, n, 1] = -xy / determinant
            conics[c, n, 2] = xx / determinant
            depths[c, n] = cz
            opacities2d[c, n] = opacity
            radii[c, n, 0], radii[c, n, 1] = min(rx, 2**30), min(ry, 2**30)


@_parallel
def project_backward(
    means: Doubles,
    quats: Doubles,
    scales: Doubles,
    opacities: Doubles,
    viewmats: Doubles,
    Ks: Doubles,
    size: tuple[int, int],
    eps2d: float,
    antialiased: bool,
    radii: Ints,
    v_means2d: Floats,  # [C, N, 2]
    v_covars2d: Floats,  # [C, N, 3]
    v_depths: Floats,  # [C, N]
    v_opacities2d: Floats,  # [C, N]
    v_means: Floats,  # [N, 3] out, as are all below
    v_quats: Floats,  # [N, 4]
    v_scales: Floats,  # [N, 3]
    v_opacities: Floats,  # [N]
) -> None:
    """Pull the gradients of `project`'s outputs back to its inputs, summed over the cameras."""
    width, height = size
    for n in prange(means.shape[0]):
        m0, m1, m2 = means[n, 0], means[n, 1], means[n, 2]
        s0, s1, s2 = scales[n, 0], scales[n, 1], scales[n, 2]
        w, x, y, z = quats[n, 0], quats[n, 1], quats[n, 2], quats[n, 3]
        norm = math.sqrt(w * w + x * x + y * y + z * z)
        w, x, y, z = w / norm, x / norm, y / norm, z / norm
        r = _rotation(w, x, y, z)
        seen = False
        vm0 = vm1 = vm2 = vs0 = vs1 = vs2 = vo = 0.0
        v00 = v01 = v02 = v10 = v11 = v12 = v20 = v21 = v22 = 0.0
        for c in range(viewmats.shape[0]):
            if radii[c, n, 0] <= 0 and radii[c, n, 1] <= 0:
                continue
            seen = True
            V, K = viewmats[c], Ks[c]
            # 1. The forward pass again.
            cx = V[0, 0] * m0 + V[0, 1] * m1 + V[0, 2] * m2 + V[0, 3]
            cy = V[1, 0] * m0 + V[1, 1] * m1 + V[1, 2] * m2 + V[1, 3]
            cz = V[2, 0] * m0 + V[2, 1] * m1 + V[2, 2] * m2 + V[2, 3]
            sx, sy, free_x, free_y = _slopes(K, cx, cy, cz, width, height)
            p0, p1, p2, p3, p4, p5, p6, p7, p8 = _product(V, r)
            jx, jy = K[0, 0] / cz, K[1, 1] / cz
            h0, h1, h2 = p0 - sx * p6, p1 - sx * p7, p2 - sx * p8
            k0, k1, k2 = p3 - sy * p6, p4 - sy * p7, p5 - sy * p8
            t0, t1, t2 = jx * h0 * s0, jx * h1 * s1, jx * h2 * s2
            u0, u1, u2 = jy * k0 * s0, jy * k1 * s1, jy * k2 * s2

            # 2. Opacity, and the covariance through the antialiasing factor.
            vxx = np.float64(v_covars2d[c, n, 0])
            vxy = np.float64(v_covars2d[c, n, 1])
            vyy = np.float64(v_covars2d[c, n, 2])
            factor, vo2d = 1.0, np.float64(v_opacities2d[c, n])
            if antialiased:
                xx = t0 * t0 + t1 * t1 + t2 * t2
                xy = t0 * u0 + t1 * u1 + t2 * u2
                yy = u0 * u0 + u1 * u1 + u2 * u2
                sharp = max(xx * yy - xy * xy, 0.0)
                determinant = sharp + eps2d * (xx + yy) + eps2d * eps2d
                ratio = sharp / determinant
                factor = math.sqrt(ratio)
                g = 0.5 * vo2d * opacities[n] / (factor * determinant)
                vxx += g * (yy - ratio * (yy + eps2d))
                vyy += g * (xx - ratio * (xx + eps2d))
                vxy -= 2.0 * g * xy * (1.0 - ratio)
            vo += vo2d * factor

            # 3. Scales, rotation and the Jacobian's entries from the covariance H S^2 H^T.
            vt0, vu0 = 2 * vxx * t0 + vxy * u0, 2 * vyy * u0 + vxy * t0
            vt1, vu1 = 2 * vxx * t1 + vxy * u1, 2 * vyy * u1 + vxy * t1
            vt2, vu2 = 2 * vxx * t2 + vxy * u2, 2 * vyy * u2 + vxy * t2
            vs0 += vt0 * jx * h0 + vu0 * jy * k0
            vs1 += vt1 * jx * h1 + vu1 * jy * k1
            vs2 += vt2 * jx * h2 + vu2 * jy * k2
            vt0, vt1, vt2 = vt0 * s0, vt1 * s1, vt2 * s2
            vu0, vu1, vu2 = vu0 * s0, vu1 * s1, vu2 * s2
            vjx = vt0 * h0 + vt1 * h1 + vt2 * h2
            vjy = vu0 * k0 + vu1 * k1 + vu2 * k2
            vsx = -jx * (vt0 * p6 + vt1 * p7 + vt2 * p8)
            vsy = -jy * (vu0 * p6 + vu1 * p7 + vu2 * p8)
            # The rows of (camera rotation x Gaussian's rotation): a0 for x, b0 for y, d0 for z.
            a0, a1, a2 = jx * vt0, jx * vt1, jx * vt2
            b0, b1, b2 = jy * vu0, jy * vu1, jy * vu2
            d0, d1, d2 = -(sx * a0 + sy * b0), -(sx * a1 + sy * b1), -(sx * a2 + sy * b2)
            v00 += V[0, 0] * a0 + V[1, 0] * b0 + V[2, 0] * d0
            v01 += V[0, 0] * a1 + V[1, 0] * b1 + V[2, 0] * d1
            v02 += V[0, 0] * a2 + V[1, 0] * b2 + V[2, 0] * d2
            v10 += V[0, 1] * a0 + V[1, 1] * b0 + V[2, 1] * d0
            v11 += V[0, 1] * a1 + V[1, 1] * b1 + V[2, 1] * d1
            v12 += V[0, 1] * a2 + V[1, 1] * b2 + V[2, 1] * d2
            v20 += V[0, 2] * a0 + V[1, 2] * b0 + V[2, 2] * d0
            v21 += V[0, 2] * a1 + V[1, 2] * b1 + V[2, 2] * d1
            v22 += V[0, 2] * a2 + V[1, 2] * b2 + V[2, 2] * d2

            # 4. The centre: through its place in the image, its depth and the Jacobian.
            vpx, vpy = np.float64(v_means2d[c, n, 0]), np.float64(v_means2d[c, n, 1])
            vcx, vcy = jx * vpx, jy * vpy
            vcz = v_depths[c, n] - (vcx * cx + vcy * cy + jx * vjx + jy * vjy) / cz
            if free_x:
                vcx += vsx / cz
                vcz -= vsx * sx / cz
            if free_y:
                vcy += vsy / cz
                vcz -= vsy * sy / cz
            vm0 += V[0, 0] * vcx + V[1, 0] * vcy + V[2, 0] * vcz
            vm1 += V[0, 1] * vcx + V[1, 1] * vcy + V[2, 1] * vcz
            vm2 += V[0, 2] * vcx + V[1, 2] * vcy + V[2, 2] * vcz
        vq = _rotation_gradient(w, x, y, z, (v00, v01, v02, v10, v11, v12, v20, v21, v22))
        v_means[n, 0], v_means[n, 1], v_means[n, 2] = vm0, vm1, vm2
        v_scales[n, 0], v_scales[n, 1], v_scales[n, 2] = vs0, vs1, vs2
        v_opacities[n] = vo
        for i in range(4):
            v_quats[n, i] = vq[i] / norm if seen else 0.0
