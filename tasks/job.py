"""What every task is asked to do: which asset, with which settings, where."""

from dataclasses import dataclass
from pathlib import Path

import torch

from stabledreamer_core.optimization.checkpoint import load_checkpoint
from stabledreamer_core.optimization.stage import pick_device
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config
from tasks.keys import STAGE2


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
