"""Checkpoints and resume states: safetensors, written atomically, verified when read.

Every file carries a digest of its tensors and metadata, because a safetensors file whose numbers
were altered still parses.
"""

import hashlib
import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.gaussians import KEYS, Splats

KEPT_STATES = 2
SHAPES = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "colors": (3,)}
TARGET = {
    f"target.{name}"
    for name in "azimuth_deg elevation_deg viewmats Ks backgrounds timesteps weight wanted".split()
}
ENTRY = "checkpoint"  # of the file's metadata: all of ours, as JSON


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and metadata with their digest; whole or not at all."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with atomic_write(path) as temporary:
        # One entry: safetensors writes several in an order that changes from run to run.
        described = {**metadata, "digest": _digest(tensors, metadata)}
        save_file(tensors, temporary, {ENTRY: json.dumps(described, sort_keys=True)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote.

    Raises:
        UserError: the file is missing, truncated, altered, or not one of ours.
    """
    if not path.is_file():  # a device or a pipe may have no end
        raise UserError(f"checkpoint {path} cannot be read: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(ENTRY, "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"checkpoint {path} cannot be read: {str(error)[:200]}") from None
    digest = metadata.pop("digest", None) if isinstance(metadata, dict) else None
    if digest is None or digest != _digest(tensors, metadata):
        raise UserError(f"checkpoint {path} is damaged: its contents do not match its digest")
    return tensors, metadata


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
    """Raise a UserError unless loop_state.py and stage.py can go on from a state."""
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


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
