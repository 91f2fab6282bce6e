"""Write binary glTF 2.0 (GLB) that viewers show alike.

Axes: glTF is +Y up with the front towards +Z, ours +Z up with the front towards +X, so (x, y, z)
becomes (y, z, x), a rotation. The file is in metres, its origin on the ground below the object's
middle (`Place`); the mesh's `extras` say how to come back to the world frame.

Colours: ours are display values (8-bit value / 255, as in the turntable). glTF's COLOR_0 is linear
light, so it holds their sRGB decoding, in 16 bits because 8 would band in the dark; a texture is
itself sRGB and holds the display values. Where the light is in the colours the material is unlit
(KHR_materials_unlit; viewers without that extension light a rough, non-metallic surface); where
it has been taken out (light.py), that rough, non-metallic surface is the material.
"""

import io
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stabledreamer_core.files import atomic_write

UINT16, UINT32, FLOAT = 5123, 5125, 5126  # glTF component types
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR = 9729, 9987
JPEG_QUALITY = 92
TINY = 64  # pixels a side: there each one counts
UNLIT = "KHR_materials_unlit"
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942


def srgb_to_linear(display: np.ndarray) -> np.ndarray:
    """Convert display values in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    display = np.asarray(display, np.float64)
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """Invert `srgb_to_linear`."""
    light = np.asarray(light, np.float64)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_gltf_axes(vectors: np.ndarray) -> np.ndarray:
    """Rotate [N, 3] from world (+Z up, front +X) to glTF axes (+Y up, front +Z)."""
    return np.asarray(vectors)[:, [1, 2, 0]]


def from_gltf_axes(vectors: np.ndarray) -> np.ndarray:
    """Rotate [N, 3] from glTF (+Y up, front +Z) to world axes (+Z up, front +X)."""
    return np.asarray(vectors)[:, [2, 0, 1]]


@dataclass(frozen=True)
class Place:
    """Where a file's origin lies in the world frame, and how many metres a world unit is."""

    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    metres: float = 1.0

    def to_file(self, points: np.ndarray) -> np.ndarray:
        """Move points [N, 3] from the world frame to metres from the pivot, along the same axes."""
        return (np.asarray(points, np.float64) - self.pivot) * self.metres

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Invert `to_file`."""
        return np.asarray(points, np.float64) / self.metres + self.pivot


def standing(vertices: np.ndarray, height: float) -> Place:
    """Place [V, 3] on the ground: the pivot below the middle of its box, `height` metres tall."""
    low, high = np.asarray(vertices).min(0), np.asarray(vertices).max(0)
    x, y = (0.5 * (low + high)[:2]).tolist()
    return Place((x, y, float(low[2])), height / max(float(high[2] - low[2]), 1e-9))


@dataclass(frozen=True)
class Surface:
    """Triangles in our world frame, with colours on the vertices or in a texture."""

    vertices: np.ndarray  # [V, 3]
    normals: np.ndarray  # [V, 3] unit length, outwards
    faces: np.ndarray  # [F, 3] vertex indices, counter-clockwise from outside
    colors: np.ndarray | None = None  # [V, 3] display values in [0, 1]
    uvs: np.ndarray | None = None  # [V, 2] in the texture, (0, 0) its upper left corner
    texture: np.ndarray | None = None  # [H, W, 3] uint8 display values, first row on top
    lit: bool = False  # the colours are without light: a viewer's light shades them
    name: str = "asset"  # of node, mesh and material
    place: Place = Place()  # in files


@dataclass
class Buffer:
    """The binary half of the file, and the tables that say what lies where in it."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def add_bytes(self, content: bytes, target: int | None = None) -> int:
        """Append bytes, padded to four, as a new view; returns its index."""
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += content + b"\0" * (-len(content) % 4)
        return len(self.views) - 1

    def add_array(
        self,
        values: np.ndarray,
        kind: str,
        component: int,
        target: int = ARRAY_BUFFER,
        **extra: Any,
    ) -> int:
        """Append an array as a new accessor; returns its index."""
        view = self.add_bytes(values.tobytes(), target)
        description = {"bufferView": view, "componentType": component, "type": kind}
        self.accessors.append(description | {"count": len(values)} | extra)
        return len(self.accessors) - 1


def write_glb(path: Path, surface: Surface) -> None:
    """Write one mesh; without faces, a valid file with nothing in its scene.

    Raises:
        UserError: `path` cannot be written.
    """
    buffer, tree = Buffer(), tree_of(surface)
    if len(surface.faces):
        tree["nodes"][0]["mesh"] = 0
        tree["materials"] = [material_of(surface, buffer, tree)]
        place = surface.place
        extras = {"pivot": place.pivot, "metres": place.metres, "lit": surface.lit}
        primitives = [_primitive(surface, buffer)]
        tree["meshes"] = [{"name": surface.name, "primitives": primitives, "extras": extras}]
        tree["accessors"], tree["bufferViews"] = buffer.accessors, buffer.views
        tree["buffers"] = [{"byteLength": len(buffer.data)}]
    with atomic_write(path) as temporary:
        temporary.write_bytes(container(tree, bytes(buffer.data)))


def tree_of(surface: Surface) -> dict[str, Any]:
    """The file's JSON before there is a mesh in it."""
    return {
        "asset": {"version": "2.0", "generator": "StableDreamer"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": surface.name}],
    }


def _primitive(surface: Surface, buffer: Buffer) -> dict[str, Any]:
    place = to_gltf_axes(surface.place.to_file(surface.vertices)).astype("<f4")
    box = {"min": place.min(0).tolist(), "max": place.max(0).tolist()}
    normals = to_gltf_axes(surface.normals).astype("<f4")
    attributes = {
        "POSITION": buffer.add_array(place, "VEC3", FLOAT, **box),
        "NORMAL": buffer.add_array(normals, "VEC3", FLOAT),
    }
    if surface.colors is not None:
        light = np.ones((len(surface.colors), 4))
        light[:, :3] = srgb_to_linear(surface.colors.clip(0.0, 1.0))
        words = np.rint(light * 65535.0).astype("<u2")
        attributes["COLOR_0"] = buffer.add_array(words, "VEC4", UINT16, normalized=True)
    if surface.uvs is not None:
        attributes["TEXCOORD_0"] = buffer.add_array(surface.uvs.astype("<f4"), "VEC2", FLOAT)
    kind = UINT16 if len(surface.vertices) < 65535 else UINT32  # 65535 is glTF's restart mark
    indices = np.asarray(surface.faces, "<u2" if kind == UINT16 else "<u4").reshape(-1)
    return {
        "attributes": attributes,
        "indices": buffer.add_array(indices, "SCALAR", kind, ELEMENT_ARRAY_BUFFER),
        "material": 0,
    }


def material_of(surface: Surface, buffer: Buffer, tree: dict[str, Any]) -> dict[str, Any]:
    """A rough, non-metallic material; its texture goes into `buffer` and `tree`."""
    base: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    if surface.texture is not None:
        picture, kind = encode_picture(surface.texture)
        view, name = buffer.add_bytes(picture), f"{surface.name}_color"
        tree["images"] = [{"name": name, "bufferView": view, "mimeType": f"image/{kind}"}]
        tree["samplers"] = [{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR}]
        tree["textures"] = [{"source": 0, "sampler": 0}]
        base["baseColorTexture"] = {"index": 0}
    material: dict[str, Any] = {"name": surface.name, "pbrMetallicRoughness": base}
    if surface.lit:
        return material
    tree["extensionsUsed"] = [UNLIT]
    return material | {"extensions": {UNLIT: {}}}


def encode_picture(texture: np.ndarray) -> tuple[bytes, str]:
    """Write a texture [H, W, 3] uint8: a JPEG whose loss nobody sees, or a PNG if it is tiny."""
    picture = io.BytesIO()
    if max(texture.shape[:2]) <= TINY:
        Image.fromarray(texture).save(picture, format="PNG")
        return picture.getvalue(), "png"
    Image.fromarray(texture).save(picture, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return picture.getvalue(), "jpeg"


def container(tree: dict[str, Any], binary: bytes) -> bytes:
    """Build the file: a header, then the JSON and the binary as chunks padded to four bytes."""
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), JSON_CHUNK) + text
    if binary:
        chunks += struct.pack("<II", len(binary), BINARY_CHUNK) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
