"""Read GLB meshes back, with trimesh: for the report's viewer and the surface metrics."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from stabledreamer_core.assets.mesh.glb import Place, Surface, from_gltf_axes, linear_to_srgb
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
        meshes = dict(trimesh.load_scene(path, process=False).geometry)
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"{path} cannot be read as a mesh: {first_line(error)}") from error
    if len(meshes) > 1:
        raise UserError(f"{path} holds {len(meshes)} meshes, and an asset has one")
    for name, mesh in meshes.items():
        mesh.metadata["name"] = name
        return mesh
    return None


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


def world_vertices(mesh: trimesh.Trimesh) -> np.ndarray:
    """Return the vertices [V, 3] of what `read_mesh` returns, in the world frame."""
    return place_of(mesh).to_world(from_gltf_axes(mesh.vertices))


def place_of(mesh: trimesh.Trimesh) -> Place:
    """Return where a file's origin is; in one of ours from before, where the world's is."""
    try:
        x, y, z = (float(value) for value in mesh.metadata.get("pivot", (0.0, 0.0, 0.0)))
        metres = float(mesh.metadata.get("metres", 1.0))
        if not (np.isfinite([x, y, z]).all() and 0.0 < metres < np.inf):
            raise ValueError("its pivot or metres are no numbers")
    except (ValueError, TypeError) as error:
        raise UserError(f"the mesh's extras are damaged: {first_line(error)}") from error
    return Place((x, y, z), metres)


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
    normals = from_gltf_axes(mesh.vertex_normals)
    facts, place = mesh.metadata, place_of(mesh)
    world = place.to_world(from_gltf_axes(vertices))
    surface = Surface(world, normals, faces, colors, place=place)
    return replace(surface, name=str(facts["name"]), lit=facts.get("lit") is True)
