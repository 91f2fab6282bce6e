"""The scene: anisotropic 3D Gaussians as a dict of tensors, and their PLY files.

A scene ("splats") holds what the optimiser sees:
    means [N, 3] world, quats [N, 4] wxyz, scales [N, 3] log, opacities [N] logit,
    colors [N, 3] logit of linear RGB.
`activate` gives what the rasteriser wants. PLY files follow 3D Gaussian Splatting (Kerbl et al.
2023): log scales, logit opacities, spherical harmonics of degree 0.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write, read_whole

Splats = dict[str, Tensor]

KEYS = ("means", "quats", "scales", "opacities", "colors")
MAX_BYTES = 4 * 2**30
SH_C0 = 0.28209479177387814  # the constant spherical harmonic, 1 / (2 sqrt(pi))
PLY_FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


def init_ball(
    count: int, radius: float, scale: float, opacity: float, generator: torch.Generator
) -> Splats:
    """`count` grey isotropic Gaussians spread evenly through a ball about the origin.

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
    """Linear scales, opacities and colours in (0, 1), unit quaternions."""
    return {
        "means": splats["means"],
        "quats": torch.nn.functional.normalize(splats["quats"], dim=-1),
        "scales": splats["scales"].exp(),
        "opacities": splats["opacities"].sigmoid(),
        "colors": splats["colors"].sigmoid(),
    }


def finite(splats: Splats) -> Splats:
    """Only the Gaussians whose every number is finite."""
    keep = torch.stack([splats[key][..., None].flatten(1).isfinite().all(1) for key in KEYS])
    return {key: splats[key][keep.all(0)] for key in KEYS}


def save_ply(splats: Splats, path: Path) -> None:
    """Write a 3DGS PLY (binary, little endian) that other viewers open."""
    splats = {key: value.detach().float().cpu() for key, value in finite(splats).items()}
    rgb = splats["colors"].sigmoid()
    columns = [
        splats["means"],
        torch.zeros_like(splats["means"]),
        (rgb - 0.5) / SH_C0,
        splats["opacities"][:, None],
        splats["scales"],
        torch.nn.functional.normalize(splats["quats"], dim=-1),
    ]
    table = torch.cat(columns, 1).numpy().astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property float {name}" for name in PLY_FIELDS] + ["end_header", ""]
    with atomic_write(path) as temporary:
        temporary.write_bytes("\n".join(header).encode() + table.tobytes())


def load_ply(path: Path) -> Splats:
    """Read a 3DGS PLY of float properties, ours or another tool's; higher harmonics are dropped.

    Raises:
        UserError: not such a file, truncated, without the fields of a Gaussian, or with numbers
            that are not finite.
    """
    try:
        data = read_whole(Path(path), MAX_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be read as a PLY file: {error}") from None
    marker = b"end_header\n"
    end = data.find(marker, 0, 65536)
    if not data.startswith(b"ply\n") or end < 0:
        raise UserError(f"{path} is not a PLY file")
    lines = data[:end].decode("ascii", "replace").split("\n")
    if "format binary_little_endian 1.0" not in lines:
        raise UserError(f"{path} is not a binary little-endian PLY, the only kind read here")
    names = [line.split()[-1] for line in lines if line.startswith("property ")]
    counts = [line.split()[-1] for line in lines if line.startswith("element vertex ")]
    floats = all(line.startswith("property float ") for line in lines if "property" in line)
    floats &= len(set(names)) == len(names) and sum("element" in line for line in lines) == 1
    missing = [name for name in PLY_FIELDS if name not in names and name not in ("nx", "ny", "nz")]
    if missing or not floats or len(counts) != 1 or not re.fullmatch("[0-9]{1,12}", counts[0]):
        raise UserError(f"{path} holds no Gaussians: missing {', '.join(missing) or 'float data'}")
    body = data[end + len(marker) :]
    expected = int(counts[0]) * len(names) * 4
    if len(body) != expected:
        raise UserError(f"{path} is damaged: {len(body)} bytes of data where {expected} belong")
    if not body:
        table = torch.zeros(0, len(names))
    else:
        table = torch.frombuffer(bytearray(body), dtype=torch.float32).reshape(-1, len(names))
    if not table.isfinite().all():
        raise UserError(f"{path} is damaged: it holds numbers that are not finite")
    column = {name: table[:, index] for index, name in enumerate(names)}
    rgb = torch.stack([column[f"f_dc_{axis}"] for axis in range(3)], 1) * SH_C0 + 0.5
    return {
        "means": torch.stack([column[axis] for axis in "xyz"], 1),
        "quats": torch.stack([column[f"rot_{axis}"] for axis in range(4)], 1),
        "scales": torch.stack([column[f"scale_{axis}"] for axis in range(3)], 1),
        "opacities": column["opacity"].clone(),
        "colors": torch.logit(rgb.clamp(1e-6, 1 - 1e-6)),
    }
