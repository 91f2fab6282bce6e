"""The resume states in a work folder: the newest two, and which of them to go on from."""

import re
import warnings
from pathlib import Path

import torch
from gsplat.strategy.base import Strategy

from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.settings.stage import Stage

KEPT_STATES = 2


def save_newest(folder: Path, state: TrainState, key: str, seconds: float) -> None:
    """Write a resume state and drop all but the `KEPT_STATES` that led to it.

    A state of a later step is damaged, or of a future that the run has gone back from.

    Args:
        key: of all that determines the result. seconds: spent so far, in all processes.
    """
    path = folder / f"state-{state.step:08d}.safetensors"
    state.save(path, {"key": key, "seconds": f"{seconds:.3f}"})
    states = _states(folder)
    first = states.index(path)
    for other in states[:first] + states[first + KEPT_STATES :]:
        other.unlink(missing_ok=True)


def load_newest(
    folder: Path, key: str, stage: Stage, strategy: Strategy, device: torch.device
) -> tuple[TrainState, float] | None:
    """The newest undamaged resume state in `folder` and the seconds spent; None without one.

    Warns of every damaged file that is passed over.

    Raises:
        UserError: the state was saved under another key.
    """
    for path in _states(folder):
        try:
            state, metadata = TrainState.load(path, stage, strategy, device)
            if not re.fullmatch(r"\d{1,12}\.\d{3}", str(metadata.get("seconds"))):
                raise UserError(f"checkpoint {path} is damaged: it does not say its seconds")
        except UserError as error:
            warnings.warn(f"{error}; falling back to the one before", stacklevel=2)
            continue
        if metadata.get("key") != key:
            raise UserError(
                f"{folder} holds unfinished work of other settings; "
                "delete that folder, or choose another --out"
            )
        return state, float(metadata["seconds"])
    return None


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.safetensors"), reverse=True)
