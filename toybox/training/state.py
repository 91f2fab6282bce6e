"""Training states: everything a slice needs to go on where the last one stopped.

Random numbers need no state: step k draws from a generator seeded with k (loop.py).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from toybox.training.settings import Section, Training

STATE_FILE = "state.safetensors"
# Settings that may change between two slices without making them two different trainings.
FREE = {"steps", "compile", "log_every", "save_every_s", "export_every_s"}
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Counters:
    """Where a training stands."""

    step: int = 0
    """Steps taken, over all slices."""
    total_steps: int = 1
    """Length of the schedule (re-estimated where it is given in minutes)."""
    train_seconds: float = 0.0
    """Seconds spent stepping, over all slices."""


def fingerprint(settings: Training, *sections: Section) -> str:
    """Hash of the settings two slices of one training must share: what is shown, and `sections`."""
    dumps: list[object] = [settings.jelly_density, settings.front_share]
    dumps += [section.model_dump(exclude={"optim": FREE}) for section in sections]
    return hashlib.sha256(json.dumps(dumps, sort_keys=True).encode()).hexdigest()[:16]


def save_state(
    folder: Path,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    counters: Counters,
    print_: str,
) -> None:
    """Write weights, their average, Adam's moments and the counters, atomically."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = parameter.detach()
        for moment in MOMENTS if parameter.requires_grad else ():  # a frozen one has none
            tensors[f"{moment}.{name}"] = optimiser.state[parameter][moment]
    for name, parameter in average.named_parameters():
        tensors[f"average.{name}"] = parameter.detach()
    metadata = {key: str(value) for key, value in vars(counters).items()}
    tensors = {key: value.cpu().contiguous() for key, value in tensors.items()}
    with atomic_write(folder / STATE_FILE) as path:
        save_file(tensors, path, {**metadata, "fingerprint": print_})


def load_state(
    folder: Path,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    print_: str,
) -> Counters | None:
    """Restore what `save_state` wrote; None where there is none.

    Raises:
        UserError: the state is damaged or was made with other settings.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); delete it to start again") from error
    if metadata.get("fingerprint") != print_:
        raise UserError(f"{path} was made with other settings; delete it or give another --work")
    step = int(metadata["step"])
    with torch.no_grad():
        for name, parameter in average.named_parameters():
            parameter.copy_(tensors[f"average.{name}"])
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
            if not parameter.requires_grad:
                continue
            optimiser.state[parameter] = {
                "step": torch.tensor(float(step), device=_step_device(parameter, optimiser)),
                **{
                    # In the parameter's own layout: the fused optimiser needs both alike.
                    moment: torch.empty_like(parameter).copy_(tensors[f"{moment}.{name}"])
                    for moment in MOMENTS
                },
            }
    return Counters(step, int(metadata["total_steps"]), float(metadata["train_seconds"]))


def _step_device(parameter: Tensor, optimiser: torch.optim.Optimizer) -> torch.device:
    """Where AdamW keeps its step count: beside the weights only if it is fused."""
    fused = bool(optimiser.defaults.get("fused"))
    return parameter.device if fused else torch.device("cpu")
