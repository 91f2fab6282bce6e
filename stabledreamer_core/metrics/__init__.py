"""How well an asset is what its prompt asked for: the figures under `metrics` in run.json.

They are for prompts of the Toybox world, whose right answers are known. The judge is a small
network trained on true renders of that world and never used in optimisation.

All are None for prompts that name no Toybox category; one alone is None where it does not apply.

| key | what it is |
|---|---|
| category, colour, accessory, accessory_colour | share of eight views that the judge names right |
| view | share of those whose direction it tells within one of eight (chance: 0.375) |
| view_exact | share of those whose direction it tells exactly (chance: 0.125) |
| multi_face | 1 if a second front is found elsewhere around the toy, else 0 |
| chamfer | mean distance between the mesh's and the true surface; 1 is the true toy's size |

How they mislead: the judge knows nothing but Toybox, so it can be sure of what a person would not
accept; shares move in steps of 1/8, so one asset's figure says little; `view` is worth less where a
toy's sides look alike; `chamfer` compares with the mean shape, so a right toy of other proportions
does not reach 0, and it forgives size, place and a small turn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stabledreamer_core.cameras import orbit
from stabledreamer_core.gaussians import Splats
from stabledreamer_core.metrics.judged import judged_figures
from stabledreamer_core.output_config import Evaluate
from stabledreamer_core.rendering import render_chunks

if TYPE_CHECKING:
    from toybox.captions import Parsed

NAMES = (
    *("category", "colour", "accessory", "accessory_colour", "view", "view_exact"),
    *("multi_face", "chamfer"),
)
DISTANCE, FOV_DEG = 3.2, 40.0  # the middle of the cameras that the judge was trained on


def evaluate(
    splats: Splats,
    prompt: str,
    settings: Evaluate,
    device: torch.device,
    mesh_path: Path | None = None,
) -> dict[str, float | None]:
    """The figures of one asset; see this module's text for what each means.

    Args:
        splats: as optimised.
        mesh_path: its GLB; without one, `chamfer` is None. It is also None for an empty mesh.

    Raises:
        UserError: the judge is missing or damaged, or the mesh cannot be read.
    """
    from toybox.captions import parse
    from toybox.judge import load_judge

    figures: dict[str, float | None] = dict.fromkeys(NAMES)
    asked = parse(prompt)
    if asked.category is None:
        return figures
    photograph = photographer(splats, settings, device)
    figures |= judged_figures(
        load_judge(settings.judge, device), asked, photograph, settings.front_views
    )
    if mesh_path is not None:
        figures["chamfer"] = toy_chamfer(mesh_path, asked, settings.surface_samples)
    return figures


def photographer(
    splats: Splats, settings: Evaluate, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """A function from azimuths [V] in degrees to images [B, V, 3, R, R] on each background."""

    def photograph(azimuth_deg: Tensor) -> Tensor:
        elevation_deg = torch.full_like(azimuth_deg, settings.elevation_deg)
        views = orbit(azimuth_deg, elevation_deg, DISTANCE, FOV_DEG, settings.resolution)
        chunks = list(render_chunks(splats, views, (0.0, 0.0, 0.0), device))
        toy, alpha = (torch.cat(parts) for parts in zip(*chunks, strict=True))
        backgrounds = torch.tensor(settings.backgrounds, device=device)[:, None, None, None, :]
        return (toy + (1.0 - alpha) * backgrounds).clamp(0.0, 1.0).movedim(-1, 2)

    return photograph


def toy_chamfer(mesh_path: Path, asked: Parsed, samples: int) -> float | None:
    """Distance from the mesh to the true surface of what was asked for, in its mean shape.

    None where the mesh is empty, or the world has no such toy (a car wearing a scarf).

    Raises:
        UserError: the mesh cannot be read.
    """
    from stabledreamer_core.metrics.surfaces import (  # needs open3d: where meshes are made
        ALL_TURNS_DEG,
        SMALL_TURNS_DEG,
        chamfer,
        load_surface,
    )
    from toybox.catalogue import CATEGORIES, all_toys
    from toybox.mesh import true_mesh

    shape = (asked.category, asked.accessory)  # colours do not change it
    toy = next((toy for toy in all_toys() if (toy.category, toy.accessory) == shape), None)
    mesh = load_surface(mesh_path)
    if toy is None or mesh is None:
        return None
    turns_deg = SMALL_TURNS_DEG if CATEGORIES[toy.category].has_front else ALL_TURNS_DEG
    return chamfer(mesh, true_mesh(toy), samples, turns_deg)
