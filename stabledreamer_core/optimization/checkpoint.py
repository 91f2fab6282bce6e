"""Checkpoints: a finished stage's Gaussians in a file that is verified when it is read."""

from pathlib import Path

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.scene.gaussians import KEYS, Splats
from stabledreamer_core.tensor_files import load_tensors, save_tensors

SHAPES = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "colors": (3,)}


def save_checkpoint(path: Path, splats: Splats, metadata: dict[str, str]) -> None:
    """Write a finished stage's Gaussians (gaussians.py) with a description of the run."""
    save_tensors(path, {key: splats[key] for key in KEYS}, metadata)


def load_checkpoint(path: Path) -> tuple[Splats, dict[str, str]]:
    """Read and check what `save_checkpoint` wrote.

    Raises:
        UserError: as `load_tensors`, or the tensors are not a scene's.
    """
    tensors, metadata = load_tensors(path)
    check_scene(path, tensors)
    return {key: tensors[key] for key in KEYS}, metadata


def check_scene(path: Path, tensors: dict[str, Tensor], prefix: str = "", suffix: str = "") -> None:
    """Raise a UserError unless every tensor of a scene is there, with its shape and finite."""
    opacities = tensors.get(f"{prefix}opacities{suffix}", torch.zeros(()))
    for key, shape in SHAPES.items():
        value = tensors.get(f"{prefix}{key}{suffix}")
        if value is None or value.shape != (*opacities.shape[:1], *shape):
            raise UserError(f"checkpoint {path} holds no Gaussians: {key} is missing or misshapen")
        if value.dtype != torch.float32 or not value.isfinite().all():
            raise UserError(f"checkpoint {path} is damaged: {key} holds what are no numbers")
