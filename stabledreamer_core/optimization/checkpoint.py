"""Checkpoints and resume states: what is in them, and which of them to go on from."""

import re
from pathlib import Path

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.scene.gaussians import KEYS, Splats
from stabledreamer_core.tensor_files import load_tensors, save_tensors

KEPT_STATES = 2
SHAPES = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "colors": (3,)}
TARGET = {
    f"target.{name}"
    for name in "azimuth_deg elevation_deg viewmats Ks backgrounds timesteps weight x0_hat".split()
}


def save_checkpoint(path: Path, splats: Splats, metadata: dict[str, str]) -> None:
    """Write a finished stage's Gaussians (gaussians.py) with a description of the run."""
    save_tensors(path, {key: splats[key] for key in KEYS}, metadata)


def load_checkpoint(path: Path) -> tuple[Splats, dict[str, str]]:
    """Read and check what `save_checkpoint` wrote.

    Raises:
        UserError: as `load_tensors`, or the tensors are not a scene's.
    """
    tensors, metadata = load_tensors(path)
    _check_scene(path, tensors)
    return {key: tensors[key] for key in KEYS}, metadata


def _check_scene(
    path: Path, tensors: dict[str, Tensor], prefix: str = "", suffix: str = ""
) -> None:
    """Raise a UserError unless every tensor of a scene is there, with its shape and finite."""
    opacities = tensors.get(f"{prefix}opacities{suffix}", torch.zeros(()))
    for key, shape in SHAPES.items():
        value = tensors.get(f"{prefix}{key}{suffix}")
        if value is None or value.shape != (*opacities.shape[:1], *shape):
            raise UserError(f"checkpoint {path} holds no Gaussians: {key} is missing or misshapen")
        if value.dtype != torch.float32 or not value.isfinite().all():
            raise UserError(f"checkpoint {path} is damaged: {key} holds what are no numbers")


def save_state(
    folder: Path, step: int, tensors: dict[str, Tensor], metadata: dict[str, str]
) -> None:
    """Write the resume state of `step` and drop all but the `KEPT_STATES` that led to it.

    A state of a later step is damaged, or of a future that the run has gone back from.
    """
    path = folder / f"state-{step:08d}.safetensors"
    save_tensors(path, tensors, {**metadata, "step": str(step)})
    states = _states(folder)
    first = states.index(path)
    for other in states[:first] + states[first + KEPT_STATES :]:
        other.unlink(missing_ok=True)


def load_newest_state(
    folder: Path, key: str
) -> tuple[dict[str, Tensor], dict[str, str], list[str]] | None:
    """The newest undamaged resume state in `folder`, or None where there is none.

    Args:
        key: of the settings that the state must have been made under (metadata "key").

    Returns:
        tensors, metadata, and a warning for every damaged file that was passed over.

    Raises:
        UserError: the state belongs to other settings.
    """
    warnings = []
    for path in _states(folder):
        try:
            tensors, metadata = load_tensors(path)
            _check_state(path, tensors, metadata)
        except UserError as error:
            warnings.append(f"{error}; falling back to the one before")
            continue
        if metadata.get("key") != key:
            raise UserError(
                f"{folder} holds unfinished work of other settings; "
                "delete that folder, or choose another --out"
            )
        return tensors, metadata, warnings
    return None


def _check_state(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Raise a UserError unless state.py and stage.py can go on from a state."""
    step, seconds = str(metadata.get("step")), str(metadata.get("seconds"))
    if not re.fullmatch(r"\d{1,9}", step) or not re.fullmatch(r"\d{1,12}(\.\d{1,9})?", seconds):
        raise UserError(
            f"checkpoint {path} is damaged: step {step[:20]!r}, seconds {seconds[:20]!r}"
        )
    _check_scene(path, tensors)
    for moment in ("exp_avg", "exp_avg_sq"):
        _check_scene(path, tensors, "adam.", f".{moment}")
    if any(tensors[f"adam.{key}.exp_avg"].shape != tensors[key].shape for key in KEYS):
        raise UserError(f"checkpoint {path} is damaged: Adam's moments are of another scene")
    for key in KEYS:
        count = tensors.get(f"adam.{key}.step")
        if count is None or count.shape != () or not count.isfinite():
            raise UserError(f"checkpoint {path} is damaged: adam.{key}.step is missing")
    kept = {key for key in tensors if key.startswith("target.")}
    if kept and kept != TARGET:
        raise UserError(f"checkpoint {path} is damaged: of its target there is only a part")


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.safetensors"), reverse=True)
