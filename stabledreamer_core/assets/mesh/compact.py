"""A GLB as small as browsers load: whole numbers (KHR_mesh_quantization), packed by meshoptimizer.

Positions have 16 bits a coordinate, in the node's scale alone so that the pivot stays the origin;
normals 8, texture coordinates 16. The arrays are packed as EXT_meshopt_compression says; without
the package meshopt they are left unpacked, which more programs read.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from stabledreamer_core.assets.mesh.glb import (
    ARRAY_BUFFER,
    ELEMENT_ARRAY_BUFFER,
    UINT16,
    UINT32,
    Buffer,
    Surface,
    container,
    material_of,
    srgb_to_linear,
    to_gltf_axes,
    tree_of,
)
from stabledreamer_core.files import atomic_write

INT8, UINT8, INT16 = 5120, 5121, 5122
QUANTIZATION, MESHOPT = "KHR_mesh_quantization", "EXT_meshopt_compression"


def write_compact(path: Path, surface: Surface) -> None:
    """Write a mesh that has faces.

    Raises:
        UserError: `path` cannot be written.
    """
    packed = find_spec("meshopt") is not None
    surface_arrays, indices, scale = _quantized(surface)
    if packed:
        surface_arrays, indices = _reordered(surface_arrays, indices)

    buffer, tree = Buffer(), tree_of(surface)
    attributes = {}
    for name, (values, kind, component, normalized) in surface_arrays.items():
        extra: dict[str, Any] = {"normalized": True} if normalized else {}
        if name == "POSITION":
            box = values[:, :3]
            extra |= {"min": box.min(0).tolist(), "max": box.max(0).tolist()}
        view = _add(buffer, values, "ATTRIBUTES", ARRAY_BUFFER, packed)
        attributes[name] = _accessor(buffer, view, len(values), kind, component, extra)
    view = _add(buffer, indices, "TRIANGLES", ELEMENT_ARRAY_BUFFER, packed)
    component = UINT16 if indices.dtype.itemsize == 2 else UINT32
    primitive = {
        "attributes": attributes,
        "indices": _accessor(buffer, view, len(indices), "SCALAR", component, {}),
        "material": 0,
    }

    needed = [QUANTIZATION, *([MESHOPT] if packed else [])]
    tree["nodes"][0] |= {"mesh": 0, "scale": [scale] * 3}
    tree["meshes"] = [{"name": surface.name, "primitives": [primitive]}]
    tree["materials"] = [material_of(surface, buffer, tree)]
    tree["extensionsUsed"] = [*tree.get("extensionsUsed", []), *needed]
    tree["extensionsRequired"] = needed
    tree["accessors"], tree["bufferViews"] = buffer.accessors, buffer.views
    tree["buffers"] = [{"byteLength": len(buffer.data)}]
    if packed:
        unpacked = sum(view["byteLength"] for view in buffer.views if view["buffer"])
        fallback = {MESHOPT: {"fallback": True}}
        tree["buffers"].append({"byteLength": unpacked, "extensions": fallback})
    with atomic_write(path) as temporary:
        temporary.write_bytes(container(tree, bytes(buffer.data)))


Arrays = dict[str, tuple[np.ndarray, str, int, bool]]  # values, type, component type, normalized


def _quantized(surface: Surface) -> tuple[Arrays, np.ndarray, float]:
    """Round everything; rows are padded to four bytes, as glTF wants them."""
    place = to_gltf_axes(surface.place.to_file(surface.vertices))
    scale = float(np.abs(place).max())
    arrays: Arrays = {
        "POSITION": (_whole(place / scale, np.int16, 4), "VEC3", INT16, True),
        "NORMAL": (_whole(to_gltf_axes(surface.normals), np.int8, 4), "VEC3", INT8, True),
    }
    if surface.uvs is not None:
        arrays["TEXCOORD_0"] = (_whole(surface.uvs, np.uint16, 2), "VEC2", UINT16, True)
    if surface.colors is not None:
        light = np.ones((len(surface.colors), 4))
        light[:, :3] = srgb_to_linear(surface.colors.clip(0.0, 1.0))
        arrays["COLOR_0"] = (_whole(light, np.uint16, 4), "VEC4", UINT16, True)
    kind = np.uint16 if len(place) < 65535 else np.uint32
    return arrays, np.asarray(surface.faces, kind).reshape(-1), scale


def _whole(values: np.ndarray, kind: type, columns: int) -> np.ndarray:
    """Scale [N, D] in [-1, 1] (or [0, 1]) to whole numbers [N, columns], zeros at the end."""
    numbers: np.ndarray = np.zeros((len(values), columns), kind)
    top = np.iinfo(numbers.dtype).max
    low = -1.0 if np.iinfo(numbers.dtype).min < 0 else 0.0
    numbers[:, : values.shape[1]] = np.rint(np.clip(values, low, 1.0) * top)
    return numbers


def _reordered(arrays: Arrays, indices: np.ndarray) -> tuple[Arrays, np.ndarray]:
    """Bring triangles and vertices into the order that packs best."""
    import meshopt

    new, places, count = meshopt.reorder_mesh(indices.astype(np.uint32), True, False)
    order = np.argsort(places)[:count]
    moved = {name: (values[order], *rest) for name, (values, *rest) in arrays.items()}
    return moved, np.asarray(new).reshape(-1).astype(indices.dtype)  # type: ignore[return-value]


def _add(buffer: Buffer, values: np.ndarray, mode: str, target: int, packed: bool) -> int:
    """Append an array as a view, packed or as it is; returns its index."""
    stride = values.itemsize * (values.shape[1] if values.ndim == 2 else 1)
    rows = {"byteStride": stride} if mode == "ATTRIBUTES" else {}
    if not packed:
        view = buffer.add_bytes(values.tobytes(), target)
        buffer.views[view] |= rows
        return view
    import meshopt

    view = buffer.add_bytes(meshopt.encode_gltf_buffer(values, mode))
    stored = buffer.views[view]
    used = sum(other["byteLength"] for other in buffer.views if other["buffer"])
    offset, length = used, values.nbytes
    buffer.views[view] = {
        "buffer": 1,
        "byteOffset": offset,
        "byteLength": length,
        "target": target,
        **rows,
        "extensions": {
            MESHOPT: stored | {"byteStride": stride, "mode": mode, "count": len(values)},
        },
    }
    return view


def _accessor(
    buffer: Buffer, view: int, count: int, kind: str, component: int, extra: dict[str, Any]
) -> int:
    description = {"bufferView": view, "componentType": component, "type": kind, "count": count}
    buffer.accessors.append(description | extra)
    return len(buffer.accessors) - 1
