"""Wavefront OBJ of a finished mesh, with trimesh: a picture beside it, or colours on the vertices.

Axes, origin and metres as in mesh.glb: +Y up, the front towards +Z. Colours are display values.
"""

from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from trimesh.exchange.obj import export_obj
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import SimpleMaterial

from stabledreamer_core.assets.mesh.glb import Surface, to_gltf_axes
from stabledreamer_core.files import atomic_write

WHITE, BLACK = [255, 255, 255, 255], [0, 0, 0, 255]


def save_obj(surface: Surface, path: Path) -> None:
    """Write `path`; a textured surface's material (.mtl) and picture (.png) beside it.

    Raises:
        UserError: a file cannot be written.
    """
    vertices = to_gltf_axes(surface.place.to_file(surface.vertices))
    normals = to_gltf_axes(surface.normals)
    mesh = trimesh.Trimesh(vertices, surface.faces, vertex_normals=normals, process=False)
    mesh.visual = _visual(surface, path.stem)
    material = path.with_suffix(".mtl").name
    text, others = export_obj(mesh, return_texture=True, mtl_name=material, header=None)
    for name, content in {path.name: text.encode(), **others}.items():
        with atomic_write(path.with_name(name)) as temporary:
            temporary.write_bytes(content)


def _visual(surface: Surface, name: str) -> ColorVisuals | TextureVisuals:
    if surface.texture is None or surface.uvs is None:
        colors = np.rint(255 * np.asarray(surface.colors).clip(0, 1))
        return ColorVisuals(vertex_colors=colors.astype(np.uint8))
    material = SimpleMaterial(  # the light is in the picture already: no shade darkens it
        image=Image.fromarray(surface.texture),
        diffuse=WHITE,
        ambient=WHITE,
        specular=BLACK,
        name=name,
    )
    return TextureVisuals(uv=surface.uvs * (1, -1) + (0, 1), material=material)
