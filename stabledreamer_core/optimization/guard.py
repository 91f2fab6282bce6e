"""What the stage loop does when numbers go wrong: back to the last good state, with smaller steps.

A NaN spreads through Adam's moments and never leaves, so the step that brought it must be undone.
Steps draw the same random numbers when they are done again; what differs is their length.
"""

import copy
import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.scene.density import Params

KEEP_EVERY = 50  # steps between two states to go back to
LOOK_EVERY = 10  # steps between two looks on a GPU, where looking means waiting
SMALLER = 0.5  # what a step's length is multiplied with each time
MAX_ROLLBACKS = 3


@dataclass
class Guard:
    """The state to go back to, and how often the loop has."""

    name: str  # the stage's
    good: TrainState
    rollbacks: int = 0

    def __post_init__(self) -> None:
        self.keep(self.good)

    def keep(self, state: TrainState) -> None:
        """Remember a copy of a state that is known to be good."""
        self.good = copy.deepcopy(state)

    def roll_back(self, state: TrainState, diagnosis: str) -> TrainState:
        """The last good state, with smaller steps from there on than `state`, which is not good.

        Raises:
            UserError: it happened `MAX_ROLLBACKS` times before.
        """
        self.rollbacks += 1
        if self.rollbacks > MAX_ROLLBACKS:
            raise UserError(
                f"{self.name} went wrong {self.rollbacks} times, the last time at step "
                f"{state.step}: {diagnosis}; lower {self.name}.learning_rates or "
                f"{self.name}.guidance_scale, or set {self.name}.dtype to float32"
            )
        back = replace(copy.deepcopy(self.good), rate=state.rate * SMALLER)
        warnings.warn(
            f"{self.name}, step {state.step}: {diagnosis}; going back to step {back.step} with "
            f"learning rates times {back.rate:g}",
            stacklevel=3,
        )
        return back


def is_checked(step: int, iterations: int, device: torch.device) -> bool:
    """Whether to look after `step`: always on a CPU; on a GPU now and then, and at the end."""
    every = 1 if device.type == "cpu" else LOOK_EVERY
    return (step + 1) % every == 0 or step + 1 == iterations


def all_finite(loss: Tensor, params: Params) -> bool:
    """Whether the loss and every parameter are finite numbers."""
    parts = [loss.isfinite().all(), *(value.isfinite().all() for value in params.values())]
    return bool(torch.stack(parts).all())


def diagnose(loss: Tensor, x: Tensor, x0_hat: Tensor, params: Params) -> str:
    """Which of the step's tensors is not finite, the earliest cause first.

    A parameter that is not finite makes the next render wrong, and with it all the rest; after one
    step alone the render still tells the two apart.
    """
    bad = [key for key, value in params.items() if not bool(value.isfinite().all())]
    if not bool(x.isfinite().all()):
        return "the render is not finite" + (f" (nor are {', '.join(bad)})" if bad else "")
    if not bool(x0_hat.isfinite().all()):
        return "the prior's answer (x0_hat) is not finite"
    if not bool(loss.isfinite().all()):
        return "the loss is not finite"
    return f"the step made {', '.join(bad)} not finite"
