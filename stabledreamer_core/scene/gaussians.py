"""The scene: anisotropic 3D Gaussians as a dict of tensors, and their PLY files.

A scene ("splats") holds what the optimiser sees:
    means [N, 3] world, quats [N, 4] wxyz, scales [N, 3] log, opacities [N] logit,
    colors [N, 3] logit of linear RGB.
`activate` gives what the rasteriser takes. PLY files follow 3D Gaussian Splatting (Kerbl et al.
2023): log scales, logit opacities, spherical harmonics of degree 0.
"""

from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement
from torch import Tensor

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.files import atomic_write

Splats = dict[str, Tensor]

KEYS = ("means", "quats", "scales", "opacities", "colors")
SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))
PLY_FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


def init_ball(
    count: int, radius: float, scale: float, opacity: float, generator: torch.Generator
) -> Splats:
    """Spread `count` grey isotropic Gaussians evenly through a ball about the origin.

    Args:
        radius: of the ball, world units. scale: standard deviation, world units.
        opacity: in (0, 1). generator: a CPU generator.
    """
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    distance = radius * torch.rand(count, 1, generator=generator) ** (1 / 3)
    quats = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1)
    return {
        "means": direction * distance,
        "quats": quats,
        "scales": torch.full((count, 3), scale).log(),
        "opacities": torch.logit(torch.full((count,), opacity)),
        "colors": 0.1 * torch.randn(count, 3, generator=generator),
    }


def activate(splats: Splats | torch.nn.ParameterDict) -> Splats:
    """Map to linear scales, opacities and colours in (0, 1), and unit quaternions."""
    return {
        "means": splats["means"],
        "quats": torch.nn.functional.normalize(splats["quats"], dim=-1),
        "scales": splats["scales"].exp(),
        "opacities": splats["opacities"].sigmoid(),
        "colors": splats["colors"].sigmoid(),
    }


def finite(splats: Splats) -> Splats:
    """Keep the Gaussians whose every number is finite."""
    keep = torch.stack([splats[key][..., None].flatten(1).isfinite().all(1) for key in KEYS])
    return {key: splats[key][keep.all(0)] for key in KEYS}


def save_ply(splats: Splats, path: Path) -> None:
    """Write the finite Gaussians as a binary, little-endian 3DGS PLY that other viewers open.

    Raises:
        UserError: `path` cannot be written.
    """
    splats = {key: value.detach().float().cpu() for key, value in finite(splats).items()}
    columns = [
        splats["means"],
        torch.zeros_like(splats["means"]),
        (splats["colors"].sigmoid() - 0.5) / SH_C0,
        splats["opacities"][:, None],
        splats["scales"],
        torch.nn.functional.normalize(splats["quats"], dim=-1),
    ]
    table = torch.cat(columns, 1).numpy().astype("<f4")
    vertices = table.view([(name, "<f4") for name in PLY_FIELDS])[:, 0]
    with atomic_write(path) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))


def load_ply(path: Path) -> Splats:
    """Read a 3DGS PLY, ours or another tool's; higher spherical harmonics are dropped.

    Raises:
        UserError: it is no PLY file, is cut short, lacks a field of a Gaussian, or holds numbers
            that are not finite.
    """
    if not Path(path).is_file():  # a device or a pipe may have no end
        raise UserError(f"{path} cannot be read as a PLY file: it is no file")
    fields = [name for name in PLY_FIELDS if name not in ("nx", "ny", "nz")]
    try:
        vertices = PlyData.read(str(path))["vertex"].data
        table = torch.from_numpy(np.stack([vertices[name] for name in fields], 1).astype("f4"))
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"{path} holds no Gaussians to read: {first_line(error)}") from None
    if not table.isfinite().all():
        raise UserError(f"{path} is damaged: it holds numbers that are not finite")
    means, sh, opacities, scales, quats = table.split([3, 3, 1, 3, 4], 1)
    return {
        "means": means.contiguous(),
        "quats": quats.contiguous(),
        "scales": scales.contiguous(),
        "opacities": opacities[:, 0].contiguous(),
        "colors": torch.logit((sh * SH_C0 + 0.5).clamp(1e-6, 1 - 1e-6)),
    }
