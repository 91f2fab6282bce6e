"""What the stage loop tells those who watch it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.sample_step import Target
from stabledreamer_core.priors import Prior
from stabledreamer_core.scene.gaussians import Splats


@dataclass(frozen=True)
class Progress:
    """Where a stage stands."""

    step: int  # steps done
    iterations: int
    loss: float  # mean over the objects
    seconds: float  # in this process
    first: int = 0  # the step that this process began at


@dataclass(frozen=True)
class Observation:
    """One step: C views of each of B objects, object by object.

    The tensors are the loop's own: look at them, keep clones, change nothing.
    """

    step: int  # from 0
    prior: Prior
    target: Target  # [B C] views (as rendered: supersampled), timesteps, weight, x0_hat
    render: Tensor  # [B C, H, W, 3] in [0, 1], at the stage's resolution
    loss: Tensor  # [B C] each view's 1/2 w || x - target.x0_hat ||^2 / numbers in x
    asked: Question | None  # [B C, ...]; None where the target is an earlier step's
    x0_hat: Tensor | None  # what the prior answered, like asked.x; None where it was not asked
    scene: Callable[[], Splats]  # the first object's Gaussians after the step


Observe = Callable[[Observation], None]


def all_of(*observers: Observe | None) -> Observe | None:
    """One observer that calls those that are there; None where none is."""
    those = [observe for observe in observers if observe]

    def observe_all(now: Observation) -> None:
        for observe in those:
            observe(now)

    return observe_all if those else None
