"""A run while it goes on: the object, and what the prior makes of it, for a small share of time.

Like record.py it draws no random number and changes nothing that the stage loop holds.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stabledreamer_core.assets.turntable import THREE_QUARTER_DEG, renders_of
from stabledreamer_core.debugger.files import Seen
from stabledreamer_core.debugger.record import facts, spread
from stabledreamer_core.optimization.observe import Observation, Observe
from stabledreamer_core.scene.cameras import orbit
from stabledreamer_core.settings.output import Turntable
from stabledreamer_core.settings.stage import Stage

SHARE = 0.01  # of the stage's time, at most, beside the first picture, which loads code
CLOCKS = (time.monotonic, time.thread_time)  # a busy machine gives us little of its processor
SOONEST_S = 1.0  # between two
SIDE = 256  # pixels
VIEWS = 2  # of a step, at most


@dataclass(frozen=True)
class Frame:
    """One step in pictures: [H, W, 3] in [0, 1]."""

    step: int  # steps done
    iterations: int
    object: Tensor  # from the front and from behind, side by side
    renders: Tensor  # [C, H, W, 3] of C of the step's views
    x0_hats: Tensor  # [C, H, W, 3] what the prior took those to be: the loss's target
    seen: tuple[Seen, ...]  # C


def watcher(stage: Stage, turntable: Turntable, show: Callable[[Frame], None]) -> Observe:
    """An observer for `optimize` that shows a frame as often as `SHARE` of the time allows.

    Args:
        show: its time counts as well.
    """
    began = [clock() for clock in CLOCKS]
    ended, spent, last = -math.inf, [0.0, 0.0], [0.0, 0.0]

    def observe(now: Observation) -> None:
        nonlocal ended, spent, last
        start, first = [clock() for clock in CLOCKS], ended == -math.inf
        within = (
            used + more <= SHARE * (at - zero)
            for used, more, at, zero in zip(spent, last, start, began, strict=True)
        )
        if now.asked is None or start[0] - ended < SOONEST_S or not all(within):
            return
        show(frame_of(now, stage, turntable))
        last = [clock() - at for clock, at in zip(CLOCKS, start, strict=True)]
        if not first:
            spent = [used + more for used, more in zip(spent, last, strict=True)]
        ended = time.monotonic()

    return observe


@torch.no_grad()
def frame_of(now: Observation, stage: Stage, turntable: Turntable) -> Frame:
    """The pictures of a step that asked the prior."""
    assert now.x0_hat is not None
    rows = spread(stage.views, VIEWS)
    target, device = now.target, now.render.device
    sides = orbit(
        torch.tensor([THREE_QUARTER_DEG, THREE_QUARTER_DEG + 180.0]),
        torch.full((2,), turntable.elevation_deg),
        turntable.distance,
        turntable.fov_deg,
        SIDE,
    )
    (both,) = renders_of(now.scene(), sides, turntable, device)
    x0_hats = torch.cat([now.prior.decode(now.x0_hat[row][None]) for row in rows])
    seen = facts(stage, target.views, rows, target.timesteps, now.loss[rows], now.prior)
    return Frame(
        now.step + 1,
        stage.iterations,
        torch.cat(list(both), 1).cpu(),
        now.render[rows].cpu(),
        x0_hats.permute(0, 2, 3, 1).float().cpu(),
        seen,
    )
