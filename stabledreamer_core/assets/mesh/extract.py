"""From Gaussians to a closed coloured mesh: render, fuse the depths, extract, colour, save."""

import warnings
from pathlib import Path

import numpy as np
import torch
import trimesh

from stabledreamer_core.assets.mesh.color import colors_at
from stabledreamer_core.assets.mesh.field import fuse
from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from stabledreamer_core.assets.mesh.surface import extract_surface
from stabledreamer_core.assets.mesh.texture import bake_texture
from stabledreamer_core.assets.mesh.views import Survey, render_survey
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.output import Mesh

SEEN_WITHIN_CELLS = 3.0  # a vertex this far behind the depth map still counts as what it shows


def write_mesh(
    splats: Splats, settings: Mesh, path: Path, device: torch.device
) -> dict[str, int | bool]:
    """Write the mesh of `splats` as a GLB.

    Where nothing is opaque enough to have a surface, warn, write a valid file with an empty scene,
    and return counts of 0: the run's other results are still worth having.

    Args:
        splats: as optimised (log scales, logit opacities).
        path: where to write; ends in .glb.

    Returns:
        vertices, faces: counts; watertight: whether every edge has exactly two triangles.

    Raises:
        UserError: `path` cannot be written.
    """
    seen = render_survey(splats, settings.views, settings.view_resolution, device)
    field = fuse(seen, settings.resolution, settings.min_alpha, settings.truncation)
    if field is not None:
        mesh = extract_surface(field, settings.smoothing, settings.faces, settings.min_component)
        if mesh is not None:
            write_glb(path, _colored(mesh, seen, SEEN_WITHIN_CELLS * field.cell, settings))
            return {
                "vertices": len(mesh.vertices),
                "faces": len(mesh.faces),
                "watertight": bool(mesh.is_watertight and mesh.is_winding_consistent),
            }
    warnings.warn(
        f"{path}: the Gaussians have no surface (mesh.min_alpha = {settings.min_alpha} is reached "
        "nowhere), so the mesh is empty",
        stacklevel=2,
    )
    nothing = np.zeros((0, 3))
    write_glb(path, Surface(nothing, nothing, nothing.astype(int)))
    return {"vertices": 0, "faces": 0, "watertight": False}


def _colored(mesh: trimesh.Trimesh, seen: Survey, tolerance: float, settings: Mesh) -> Surface:
    if settings.texture:
        return bake_texture(mesh, seen, tolerance, settings.texture_resolution)
    vertices, normals = np.asarray(mesh.vertices), np.asarray(mesh.vertex_normals)
    colors = colors_at(vertices, normals, seen, tolerance)
    return Surface(vertices, normals, np.asarray(mesh.faces), colors)
