"""PLY files of 3D Gaussian Splatting (Kerbl et al. 2023): log scales, logit opacities, SH degree 0.

Ours stand upright in viewers (frames.py), and a comment in the header says so. A file without that
comment, such as ours from before it, is taken to be in our world frame.
"""

from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement
from torch import Tensor

from stabledreamer_core.assets.splats.frames import VIEWER, inverse, rotate
from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.gaussians import Splats, finite

SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))
PLY_FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
UPRIGHT = "StableDreamer axes: +Y down, front towards -Z"  # the comment


def save_ply(splats: Splats, path: Path) -> None:
    """Write the finite Gaussians as a binary, little-endian PLY that stands upright in viewers.

    (x, y, z) becomes (y, -z, -x), and quaternions turn with it; `load_ply` turns them back.

    Raises:
        UserError: `path` cannot be written.
    """
    splats = rotate(to_cpu(splats), VIEWER)
    columns = [
        splats["means"],
        torch.zeros_like(splats["means"]),
        to_sh(splats["colors"]),
        splats["opacities"][:, None],
        splats["scales"],
        torch.nn.functional.normalize(splats["quats"], dim=-1),
    ]
    table = torch.cat(columns, 1).numpy().astype("<f4")
    vertices = table.view([(name, "<f4") for name in PLY_FIELDS])[:, 0]
    element = PlyElement.describe(vertices, "vertex")
    with atomic_write(path) as temporary:
        PlyData([element], byte_order="<", comments=[UPRIGHT]).write(str(temporary))


def load_ply(path: Path) -> Splats:
    """Read a 3DGS PLY into our world frame; higher spherical harmonics are dropped.

    Ours is turned back, another tool's is taken as it is.

    Raises:
        UserError: it is no PLY file, is cut short, lacks a field of a Gaussian, or holds numbers
            that are not finite.
    """
    if not Path(path).is_file():  # a device or a pipe may have no end
        raise UserError(f"{path} cannot be read as a PLY file: it is no file")
    fields = [name for name in PLY_FIELDS if name not in ("nx", "ny", "nz")]
    try:
        data = PlyData.read(str(path))
        vertices = data["vertex"].data
        table = torch.from_numpy(np.stack([vertices[name] for name in fields], 1).astype("f4"))
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"{path} holds no Gaussians to read: {first_line(error)}") from None
    if not table.isfinite().all():
        raise UserError(f"{path} is damaged: it holds numbers that are not finite")
    means, sh, opacities, scales, quats = table.split([3, 3, 1, 3, 4], 1)
    splats = {
        "means": means.contiguous(),
        "quats": quats.contiguous(),
        "scales": scales.contiguous(),
        "opacities": opacities[:, 0].contiguous(),
        "colors": from_sh(sh),
    }
    return rotate(splats, inverse(VIEWER)) if UPRIGHT in data.comments else splats


def to_cpu(splats: Splats) -> Splats:
    """The finite Gaussians, in float32 on the CPU and without gradient."""
    return {key: value.detach().float().cpu() for key, value in finite(splats).items()}


def to_sh(colors: Tensor) -> Tensor:
    """Logits of RGB as coefficients of the constant spherical harmonic."""
    return (colors.sigmoid() - 0.5) / SH_C0


def from_sh(sh: Tensor) -> Tensor:
    """Invert `to_sh`, within what a logit can say."""
    return torch.logit((sh * SH_C0 + 0.5).clamp(1e-6, 1 - 1e-6))
