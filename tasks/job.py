"""What is asked for, and what every task is then asked to do."""

from dataclasses import dataclass
from pathlib import Path

import torch

from stabledreamer_core.optimization.checkpoint import load_checkpoint
from stabledreamer_core.optimization.stage import pick_device
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config
from tasks.keys import STAGE2


@dataclass(frozen=True)
class Request:
    """One asset as a person asks for it; `tasks.checks.prepare` makes a `Job` of it."""

    prompt: str
    seed: int = 0
    """A prompt and seed give the same bits every time on a CPU."""
    params: str | None = None
    """A file of settings laid over params.yaml."""
    overrides: tuple[str, ...] = ()
    """Settings as "stage1.iterations=300", laid over that."""
    quick: bool = False
    """The fast preset."""
    out: str | None = None
    """The asset folder; by default outputs/<prompt>-s<seed>."""
    bars: bool = True
    """Whether to draw progress bars and say what is done."""
    preset: str | None = None
    """A preset's name, such as "open" (params/)."""


@dataclass(frozen=True)
class Job:
    """One asset to make."""

    prompt: str
    seed: int
    config: Config
    out: Path
    bars: bool = True
    """Whether to draw progress bars and say what is done."""

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return pick_device(self.config.device)

    def result(self) -> Splats:
        """The finished Gaussians, from stage 2's checkpoint."""
        return load_checkpoint(self.out / STAGE2)[0]
