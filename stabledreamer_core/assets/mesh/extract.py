"""From Gaussians to a closed coloured mesh: render, fuse the depths, extract, colour, save."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stabledreamer_core.assets.mesh.bake import Look, painted
from stabledreamer_core.assets.mesh.compact import write_compact
from stabledreamer_core.assets.mesh.field import fuse
from stabledreamer_core.assets.mesh.glb import Surface, standing, write_glb
from stabledreamer_core.assets.mesh.light import Light
from stabledreamer_core.assets.mesh.surface import extract_surface, simplify
from stabledreamer_core.assets.mesh.views import render_survey
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.output import Mesh

SEEN_WITHIN_CELLS = 3.0  # a vertex this far behind the depth map still counts as what it shows
LITE_TEXTURE = 512  # pixels a side, at most

Facts = dict[str, int | float | bool]


def write_mesh(
    splats: Splats,
    settings: Mesh,
    path: Path,
    device: torch.device,
    name: str = "asset",
    light: Light | None = None,
    lite: Path | None = None,
) -> Facts:
    """Write the mesh of `splats` as a GLB, and a smaller one beside it.

    Where nothing is opaque enough to have a surface, warn, write valid files with an empty scene,
    and return counts of 0: the run's other results are still worth having.

    Args:
        splats: as optimised (log scales, logit opacities).
        path: where to write; ends in .glb.
        name: of the file's node, mesh and material.
        light: that is in the Gaussians' colours, if it is known.
        lite: where the smaller one goes; None writes none.

    Returns:
        vertices, faces: as in the file; watertight: whether every edge has exactly two triangles
        once equal positions are merged; lit: whether the light was taken out of the colours;
        lite_vertices, lite_faces: of the smaller file.

    Raises:
        UserError: a file cannot be written.
    """
    seen = render_survey(splats, settings.views, settings.view_resolution, device)
    field = fuse(seen, settings.resolution, settings.min_alpha, settings.truncation)
    if field is None:
        return _write_nothing(settings, path, lite)
    mesh = extract_surface(field, settings.smoothing, settings.faces, settings.min_component)
    if mesh is None:
        return _write_nothing(settings, path, lite)

    look = Look(seen, SEEN_WITHIN_CELLS * field.cell, settings, light)
    surface = replace(
        painted(mesh, look, settings.texture_resolution),
        name=name,
        place=standing(mesh.vertices, settings.height),
    )
    write_glb(path, surface)
    facts: Facts = {
        "vertices": len(surface.vertices),
        "faces": len(surface.faces),
        "watertight": bool(mesh.is_watertight and mesh.is_winding_consistent),
        "lit": surface.lit,
    }
    if lite is not None:
        fewer = simplify(mesh, settings.lite_faces)
        small = painted(fewer, look, min(LITE_TEXTURE, settings.texture_resolution))
        small = replace(small, name=name, place=surface.place)
        write_compact(lite, small)
        facts |= {"lite_vertices": len(small.vertices), "lite_faces": len(small.faces)}
    return facts


def _write_nothing(settings: Mesh, path: Path, lite: Path | None) -> Facts:
    warnings.warn(
        f"{path}: the Gaussians have no surface (mesh.min_alpha = {settings.min_alpha} is reached "
        "nowhere), so the mesh is empty",
        stacklevel=3,
    )
    nothing = np.zeros((0, 3))
    for file in (path, lite):
        if file is not None:
            write_glb(file, Surface(nothing, nothing, nothing.astype(int)))
    return {"vertices": 0, "faces": 0, "watertight": False, "lit": False}
