"""Read GLB meshes back, with trimesh: for the report's viewer and the surface metrics."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from stabledreamer_core.assets.mesh.glb import Surface, from_gltf_axes, linear_to_srgb
from stabledreamer_core.errors import UserError, first_line

MAX_TEXTURE = 8192  # pixels a side


def read_mesh(path: Path) -> trimesh.Trimesh | None:
    """Read the one mesh of a GLB as the file has it (glTF axes); None if its scene is empty.

    Raises:
        UserError: the file is missing or damaged, or holds several meshes.
    """
    if not Path(path).is_file():  # a device or a pipe may have no end
        raise UserError(f"{path} cannot be read as a mesh: it is no file")
    try:
        meshes = list(trimesh.load_scene(path, process=False).geometry.values())
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"{path} cannot be read as a mesh: {first_line(error)}") from error
    if len(meshes) > 1:
        raise UserError(f"{path} holds {len(meshes)} meshes, and an asset has one")
    return meshes[0] if meshes else None


def read_glb(path: Path) -> Surface | None:
    """Read a GLB that `write_glb` wrote, in the world frame, with colours on its vertices.

    Sample a texture at each vertex. Return None if the file's scene is empty.

    Raises:
        UserError: the file is missing, damaged, or not one of ours.
    """
    mesh = read_mesh(path)
    if mesh is None:
        return None
    try:
        return _surface(mesh)
    except Exception as error:  # a file of another kind lacks what ours has
        raise UserError(f"{path} cannot be read as a mesh of ours: {first_line(error)}") from error


def read_textured(path: Path) -> Surface | None:
    """As `read_glb`, but a textured mesh keeps its picture instead of colours on its vertices.

    Raises:
        UserError: the file is missing, damaged, or not one of ours.
    """
    mesh, surface = read_mesh(path), read_glb(path)
    visual: Any = mesh.visual if mesh else None
    picture = getattr(getattr(visual, "material", None), "baseColorTexture", None)
    if surface is None or picture is None:
        return surface
    uvs = np.asarray(visual.uv) * (1, -1) + (0, 1)  # trimesh counts from the lower left
    return replace(surface, colors=None, uvs=uvs, texture=np.asarray(picture.convert("RGB")))


def _surface(mesh: trimesh.Trimesh) -> Surface:
    visual: Any = mesh.visual
    light = visual.vertex_attributes.get("color")  # as the file has it, without rounding
    if light is not None:
        colors = linear_to_srgb(light[:, :3] / 65535.0)
    elif max(visual.material.baseColorTexture.size) > MAX_TEXTURE:  # not yet unpacked
        raise ValueError(f"its texture is larger than {MAX_TEXTURE} pixels a side")
    else:
        colors = visual.to_color().vertex_colors[:, :3] / 255.0
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    if not np.isfinite(vertices).all() or (faces.size and faces.max() >= len(vertices)):
        raise ValueError("its vertices or triangles are damaged")
    normals = np.asarray(mesh.vertex_normals)
    return Surface(from_gltf_axes(vertices), from_gltf_axes(normals), faces, colors)
