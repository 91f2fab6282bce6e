"""Paint a mesh with what the Gaussians show: a texture, or colours on the vertices."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import trimesh

from stabledreamer_core.assets.mesh.color import colors_at
from stabledreamer_core.assets.mesh.glb import Surface
from stabledreamer_core.assets.mesh.light import Light, without_light
from stabledreamer_core.assets.mesh.texture import NoUnwrapper, interpolate, pad, texels, unwrap
from stabledreamer_core.assets.mesh.views import Survey
from stabledreamer_core.settings.output import Mesh


@dataclass(frozen=True)
class Look:
    """What a mesh is painted from."""

    seen: Survey
    tolerance: float  # see `colors_at`
    settings: Mesh
    light: Light | None  # that is in the colours, if it is known

    @property
    def lit(self) -> bool:
        """Whether the viewer's light shall shade the mesh."""
        chosen = self.settings.material
        return chosen == "lit" or (chosen == "auto" and self.light is not None)


def painted(mesh: trimesh.Trimesh, look: Look, resolution: int) -> Surface:
    """Paint the mesh with a texture of `resolution` pixels a side, or colours on its vertices.

    A lit surface's colours are without the light, if that is known.
    """
    if look.settings.texture:
        try:
            return _textured(mesh, look, resolution)
        except NoUnwrapper as error:
            warnings.warn(f"{error}. This mesh has colours on its vertices", stacklevel=2)
    vertices, normals = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    colors = colors_at(vertices, normals, look.seen, look.tolerance)
    colors = _paint(colors, normals, look)
    return Surface(vertices, normals, np.asarray(mesh.faces), colors, lit=look.lit)


def _textured(mesh: trimesh.Trimesh, look: Look, resolution: int) -> Surface:
    original, faces, uvs = unwrap(mesh, resolution)
    vertices = np.asarray(mesh.vertices)[original]
    normals = np.asarray(mesh.vertex_normals)[original]

    face, weights = texels(faces, uvs, resolution)
    covered = face >= 0
    corners, weights = faces[face[covered]], weights[covered]
    points = interpolate(vertices, corners, weights)
    towards = interpolate(normals, corners, weights)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True).clip(1e-9)
    colors = colors_at(points, towards, look.seen, look.tolerance)
    texture = np.zeros((resolution, resolution, 3), np.uint8)
    texture[covered] = np.rint(_paint(colors, towards, look) * 255.0)
    texture = pad(texture, covered)
    surface = Surface(vertices, normals, faces, uvs=uvs, texture=texture)
    return replace(surface, lit=look.lit)


def _paint(colors: np.ndarray, normals: np.ndarray, look: Look) -> np.ndarray:
    if not look.lit or look.light is None:
        return colors
    return without_light(colors, normals, look.light)
