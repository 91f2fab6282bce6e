"""How well an asset fits its prompt, where Toybox knows the truth (docs/outputs.md)."""

from pathlib import Path

import torch

from stabledreamer_core.gaussians import Splats
from stabledreamer_core.metrics.geometry import chamfer, mesh_points, truth_points
from stabledreamer_core.metrics.judged import judged
from stabledreamer_core.output_config import Evaluate

NAMES = (
    *("category", "colour", "accessory", "accessory_colour", "view", "view_exact"),
    *("multi_face", "chamfer"),
)


def evaluate(
    splats: Splats,
    prompt: str,
    settings: Evaluate,
    device: torch.device,
    mesh_path: Path | None = None,
) -> dict[str, float | None]:
    """Every figure of run.json's `metrics`, by name; None where one does not apply.

    A prompt that is not exactly one toy of the catalogue has no truth here: all None.

    Args:
        splats: the finished scene (gaussians.py).
        mesh_path: the asset's mesh.glb, for the chamfer distance; None leaves that out.

    Raises:
        UserError: the judge is missing or damaged.
    """
    from toybox.captions import parse

    toy = parse(prompt).toy
    if toy is None:
        return dict.fromkeys(NAMES)
    scores = judged(splats, toy, settings, device)
    points = mesh_points(mesh_path, settings.surface_samples) if mesh_path else None
    distance = None
    if points is not None:
        distance = chamfer(points, truth_points(toy, settings.surface_samples))
    return {**scores, "chamfer": distance}
