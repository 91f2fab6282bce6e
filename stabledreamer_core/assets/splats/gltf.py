"""Binary glTF with KHR_gaussian_splatting, the Khronos extension for 3D Gaussians.

The Gaussians are a primitive of points. Rotations are xyzw, scales and opacities linear, colours
spherical harmonics of degree 0 in display-referred sRGB; COLOR_0 is for programs without the
extension, which draw the points.
https://github.com/KhronosGroup/glTF/tree/main/extensions/2.0/Khronos/KHR_gaussian_splatting
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stabledreamer_core.assets.mesh.glb import FLOAT, Buffer, container, srgb_to_linear
from stabledreamer_core.assets.splats.frames import GLTF, inverse, rotate
from stabledreamer_core.assets.splats.ply import from_sh, to_cpu, to_sh
from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.gaussians import Splats, activate

NAME = "KHR_gaussian_splatting"
ROTATION, SCALE, OPACITY = (f"{NAME}:{name}" for name in ("ROTATION", "SCALE", "OPACITY"))
SH0 = f"{NAME}:SH_DEGREE_0_COEF_0"
POINTS, UINT8 = 0, 5121
SPLATS = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}


def save_gltf(splats: Splats, path: Path) -> None:
    """Write the finite Gaussians, at least one: +Y up, the front towards +Z.

    Raises:
        UserError: `path` cannot be written.
    """
    splats = rotate(to_cpu(splats), GLTF)
    buffer = Buffer()
    primitive = {
        "mode": POINTS,
        "attributes": _attributes(splats, buffer),
        "extensions": {NAME: SPLATS},
    }
    tree = {
        "asset": {"version": "2.0", "generator": "StableDreamer"},
        "extensionsUsed": [NAME],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "toy", "mesh": 0}],
        "meshes": [{"name": "toy", "primitives": [primitive]}],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    with atomic_write(path) as temporary:
        temporary.write_bytes(container(tree, bytes(buffer.data)))


def _attributes(splats: Splats, buffer: Buffer) -> dict[str, int]:
    linear = {key: value.numpy().astype("<f4") for key, value in activate(splats).items()}
    means, opacities = linear["means"], linear["opacities"]
    seen = np.concatenate([srgb_to_linear(linear["colors"]), opacities[:, None]], 1)
    shown = np.rint(255.0 * seen).astype(np.uint8)
    box = {"min": means.min(0).tolist(), "max": means.max(0).tolist()}
    xyzw = np.ascontiguousarray(linear["quats"][:, [1, 2, 3, 0]])
    sh = to_sh(splats["colors"]).numpy().astype("<f4")
    return {
        "POSITION": buffer.add_array(means, "VEC3", FLOAT, **box),
        "COLOR_0": buffer.add_array(shown, "VEC4", UINT8, normalized=True),
        ROTATION: buffer.add_array(xyzw, "VEC4", FLOAT),
        SCALE: buffer.add_array(linear["scales"], "VEC3", FLOAT),
        OPACITY: buffer.add_array(opacities, "SCALAR", FLOAT),
        SH0: buffer.add_array(sh, "VEC3", FLOAT),
    }


def load_gltf(path: Path) -> Splats:
    """Read what `save_gltf` wrote into our world frame.

    Raises:
        UserError: it is another kind of file.
    """
    try:
        content = Path(path).read_bytes()
        (length,) = struct.unpack_from("<I", content, 12)
        tree = json.loads(content[20 : 20 + length])
        read = _Columns(tree, content[28 + length :])
        splats = {
            "means": read.column("POSITION", 3),
            "quats": read.column(ROTATION, 4)[:, [3, 0, 1, 2]],
            "scales": read.column(SCALE, 3).log(),
            "opacities": torch.logit(read.column(OPACITY, 1)[:, 0]),
            "colors": from_sh(read.column(SH0, 3)),
        }
    except Exception as error:  # whatever another file makes of the reader
        raise UserError(f"{path} holds no Gaussians of ours: {first_line(error)}") from error
    return rotate(splats, inverse(GLTF))


class _Columns:
    """The float attributes of a file's one primitive."""

    def __init__(self, tree: dict[str, Any], binary: bytes) -> None:
        self.tree, self.binary = tree, binary
        self.attributes = tree["meshes"][0]["primitives"][0]["attributes"]

    def column(self, name: str, width: int) -> torch.Tensor:
        accessor = self.tree["accessors"][self.attributes[name]]
        view = self.tree["bufferViews"][accessor["bufferView"]]
        count = accessor["count"] * width
        values = np.frombuffer(self.binary, "<f4", count, view["byteOffset"])
        return torch.from_numpy(values.reshape(-1, width).copy())
