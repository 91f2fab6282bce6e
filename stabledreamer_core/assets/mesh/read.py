"""Reading back the GLB files that glb.py writes, for the report's viewer."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stabledreamer_core.assets.mesh.glb import Surface, from_gltf_axes, linear_to_srgb
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole

TYPES = {5123: "<u2", 5125: "<u4", 5126: "<f4"}
MAX_BYTES = 2**30
WIDEST = 8192  # pixels of a texture
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def read_glb(path: Path) -> Surface | None:
    """The one mesh in a GLB of ours, in the world frame with display colours on its vertices.

    A texture is read at each vertex's place in it. None if the file's scene is empty.

    Raises:
        UserError: the file is missing, damaged, or not one of ours.
    """
    try:
        data = read_whole(path, MAX_BYTES)
        length = struct.unpack_from("<I", data, 12)[0]
        tree = json.loads(data[20 : 20 + length])
        if not tree.get("meshes"):
            return None
        return _surface(tree, data[20 + length + 8 :])
    except Exception as error:  # whatever a damaged file makes of the readers
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise UserError(f"{path} cannot be read as a mesh of ours: {why}") from None


def _surface(tree: dict[str, Any], body: bytes) -> Surface:
    primitive = tree["meshes"][0]["primitives"][0]
    arrays = {
        name: _array(tree, body, index)
        for name, index in {**primitive["attributes"], "indices": primitive["indices"]}.items()
    }
    if "COLOR_0" in arrays:
        colours = linear_to_srgb(arrays["COLOR_0"][:, :3] / 65535.0)
    else:
        view = tree["bufferViews"][tree["images"][0]["bufferView"]]
        start = view.get("byteOffset", 0)
        opened = Image.open(io.BytesIO(body[start : start + view["byteLength"]]), formats=["PNG"])
        if max(opened.size) > WIDEST:  # known before a pixel is unpacked
            raise ValueError(f"a texture of {opened.size} pixels")
        picture = np.asarray(opened.convert("RGB"))
        side = np.array([picture.shape[1], picture.shape[0]]) - 1
        column, row = (arrays["TEXCOORD_0"].clip(0, 1) * side + 0.5).astype(int).T
        colours = picture[row, column, :3] / 255.0
    places, normals, indices = arrays["POSITION"], arrays["NORMAL"], arrays["indices"]
    if places.shape[1:] != (3,) or normals.shape != places.shape or len(colours) != len(places):
        raise ValueError("the vertices' attributes do not fit together")
    if not np.isfinite(places).all() or (indices.size and indices.max() >= len(places)):
        raise ValueError("its vertices or triangles are damaged")
    return Surface(from_gltf_axes(places), from_gltf_axes(normals), indices.reshape(-1, 3), colours)


def _array(tree: dict[str, Any], body: bytes, index: int) -> np.ndarray:
    accessor = tree["accessors"][index]
    if accessor["count"] < 0:
        raise ValueError("an array of less than nothing")
    view = tree["bufferViews"][accessor["bufferView"]]
    width = WIDTHS[accessor["type"]]
    values = np.frombuffer(
        body, TYPES[accessor["componentType"]], accessor["count"] * width, view["byteOffset"]
    )
    return values.reshape(-1, width) if width > 1 else values
