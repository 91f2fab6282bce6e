"""What the stage loop does when numbers go wrong: back to the last good state, with smaller steps.

A NaN spreads through Adam's moments and never leaves, so the step that brought it must be undone.
Steps draw the same random numbers when they are done again; what differs is their length.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError

KEEP_EVERY = 50  # steps between two states to go back to
LOOK_EVERY = 10  # steps between two looks on a GPU, where looking means waiting
SMALLER = 0.5  # what a step's length is multiplied with each time
MAX_ROLLBACKS = 3
RATE = "guard.rate"  # in the tensors of a resume state

State = tuple[int, dict[str, Tensor]]


@dataclass
class Guard:
    """The state to go back to, and how often the loop has."""

    rate: float = 1.0  # multiplies every learning rate
    rollbacks: int = 0
    good: State | None = None

    def resume(self, state: State) -> None:
        """Go back no further than a resume state, and take its rate."""
        self.keep(*state)
        rate = float(state[1].get(RATE, torch.tensor(1.0)).flatten()[:1].sum())
        self.rate = rate if 0.0 < rate <= 1.0 else 1.0

    def tensors(self) -> dict[str, Tensor]:
        """What a resume state must hold; nothing in a run that never went wrong."""
        return {} if self.rate == 1.0 else {RATE: torch.tensor(self.rate)}

    def keep(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Remember a state that is known to be good; `step` is the next one."""
        self.good = step, {key: value.detach().clone() for key, value in tensors.items()}

    def roll_back(self, name: str, step: int, diagnosis: str) -> State | None:
        """The state to go back to (None: the very start), with smaller steps from there on.

        Raises:
            UserError: it happened `MAX_ROLLBACKS` times before.
        """
        self.rollbacks += 1
        if self.rollbacks > MAX_ROLLBACKS:
            raise UserError(
                f"{name} went wrong {self.rollbacks} times, the last time at step {step}: "
                f"{diagnosis}; lower {name}.learning_rates or {name}.guidance_scale, or set "
                f"{name}.dtype to float32"
            )
        self.rate *= SMALLER
        back = self.good[0] if self.good else 0
        warnings.warn(
            f"{name}, step {step}: {diagnosis}; going back to step {back} with learning rates "
            f"times {self.rate:g}",
            stacklevel=3,
        )
        return self.good


def is_due(step: int, device: torch.device) -> bool:
    """Whether to look after `step`: always on a CPU, now and then on a GPU."""
    every = 1 if device.type == "cpu" else LOOK_EVERY
    return (step + 1) % every == 0


def all_finite(loss: Tensor, params: Any) -> bool:
    """Whether the loss and every parameter are finite numbers."""
    parts = [loss.isfinite().all(), *(value.isfinite().all() for value in params.values())]
    return bool(torch.stack(parts).all())


def diagnose(loss: Tensor, x: Tensor, x0_hat: Tensor, params: Any) -> str:
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
