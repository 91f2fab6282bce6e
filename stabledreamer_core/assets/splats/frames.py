"""The axes that other programs expect, as rotations of our world (+Z up, the front towards +X)."""

import torch
from torch import Tensor

from stabledreamer_core.scene.gaussians import Splats

Quat = tuple[float, float, float, float]  # wxyz

VIEWER: Quat = (0.5, 0.5, 0.5, -0.5)
"""(x, y, z) becomes (y, -z, -x): +Y down, the front towards -Z, as viewers of 3DGS files expect."""
GLTF: Quat = (0.5, -0.5, -0.5, -0.5)
"""(x, y, z) becomes (y, z, x): glTF's axes, +Y up and the front towards +Z."""


def rotate(splats: Splats, quat: Quat) -> Splats:
    """Rotate a scene about the origin; spherical harmonics of degree 0 stay as they are."""
    means, quats = splats["means"], splats["quats"]
    q = torch.tensor(quat, dtype=quats.dtype, device=quats.device)
    return splats | {
        "means": means @ rotation_matrix(quat).to(means).T,
        "quats": multiply(q.expand_as(quats), quats),
    }


def inverse(quat: Quat) -> Quat:
    """The unit quaternion of the rotation back."""
    w, x, y, z = quat
    return (w, -x, -y, -z)


def rotation_matrix(quat: Quat) -> Tensor:
    """The 3 x 3 matrix of a unit quaternion, float64: exact for our frames."""
    w, x, y, z = quat
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """The Hamilton products [N, 4] of wxyz quaternions: first b's rotation, then a's."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )
