"""The SDS debugger: what the prior made of a step's renders, as pictures (docs/debugger.md).

The loss is 1/2 w || x - x0_hat ||^2 (distillation/loss.py), so what moves the Gaussians can be
looked at: the render x, the noised x_t that the prior saw, the x0_hat it took that to be, and the
difference of x0_hat and x, which is the gradient. Recording draws no random number and changes
nothing that the stage loop holds.
"""

from pathlib import Path

import torch
from torch import Tensor

from stabledreamer_core.debugger.files import (
    DebugRecord,
    Pictures,
    Seen,
    forget_others,
    write_record,
)
from stabledreamer_core.distillation.noise import noised
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.target import denoise
from stabledreamer_core.distillation.view_prompts import view_words
from stabledreamer_core.optimization.observe import Observation, Observe
from stabledreamer_core.priors import Prior
from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.settings.config import Debug
from stabledreamer_core.settings.stage import Stage, StageName

FOLDER = "debug"  # in the asset folder: one folder of records a stage


def recorder(
    settings: Debug, stage: Stage, asset_dir: Path, name: StageName, key: str
) -> Observe | None:
    """An observer for `optimize` that records as `settings` say; None where they say nothing.

    Records of the same `key` (keys.step_key of the stage) are kept, so a resumed run adds to its
    own; those of other settings are removed.
    """
    folder = asset_dir / FOLDER / name
    forget_others(folder, key)
    if settings.every == 0:
        return None

    def observe(now: Observation) -> None:
        target, asked, x0_hat = now.target, now.asked, now.x0_hat
        due = is_recorded(now.step, settings.every, stage.target_reuse, stage.iterations)
        if asked is None or x0_hat is None or not due:
            return
        rows = spread(stage.views, settings.views)  # of a batch, the first object's
        shown = pictures(
            *(stage, now.prior, now.render[rows], asked.of(rows), x0_hat[rows]),
            many_steps=settings.many_steps,
        )
        seen = facts(stage, target.views, rows, target.timesteps, now.loss[rows], now.prior)
        record = DebugRecord(key, int(name[-1]), now.step, stage.iterations, tuple(shown), seen)
        write_record(folder / f"step-{now.step:06d}", record, shown)

    return observe


def is_recorded(step: int, every: int, reuse: int, iterations: int) -> bool:
    """Whether a step is recorded: the first in each `every` that asks the prior, and the last.

    A step asks the prior if `reuse` (the stage's target_reuse) divides its number.
    """
    if step % reuse:
        return False
    return step // every > (step - reuse) // every or step + reuse >= iterations


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spread."""
    shown = min(count, most)
    return [index * count // shown for index in range(shown)]


@torch.no_grad()
def pictures(
    stage: Stage,
    prior: Prior,
    render: Tensor,
    asked: Question,
    x0_hat: Tensor,
    many_steps: int,
) -> Pictures:
    """What was optimised, column by column: name -> images [C, 3, H, W] in [0, 1].

    "render", "noised", "one step" and "<n> steps" are x, x_t and what one and n steps of denoising
    make of it, and a column named as the stage's target is where that is another one. What is not
    the target x0_hat is asked for here, which costs calls of the prior. "difference" is
    `difference` of the target and x.

    Args:
        render: [C, H, W, 3] in [0, 1].
        asked: about the same C views; x0_hat: its answer, like asked.x.
        many_steps: n; 0 leaves that column out. A stage whose own target takes several steps
            shows that one instead.
    """
    several = stage.target == "many_steps"
    steps = stage.target_steps if several else many_steps
    one = x0_hat if stage.target == "one_step" else _denoised(stage, prior, asked, 1)
    shown = {
        "render": render.permute(0, 3, 1, 2),
        "noised": _decode(prior, noised(stage, prior, asked, asked.timesteps)),
        "one step": _decode(prior, one),
    }
    if steps > 0:
        many = x0_hat if several else _denoised(stage, prior, asked, steps)
        shown[f"{steps} steps"] = _decode(prior, many)
    if stage.target not in ("one_step", "many_steps"):
        shown[stage.target.replace("_", " ")] = _decode(prior, x0_hat)
    shown["difference"] = difference(prior, asked.x, x0_hat)
    return shown


def difference(prior: Prior, x: Tensor, x0_hat: Tensor) -> Tensor:
    """Where the loss pulls the render, around mid-grey: images [C, 3, H, W] in [0, 1].

    Pixel priors: 1/2 + (x0_hat - x) / 2, that is 1/2 - g / (2 w) with g the gradient of the loss
    with respect to x and w its weight (distillation.l2_loss). Latent priors: the same of the
    decoded images, because latents are no colours. Beyond [0, 1] it is cut.
    """
    if prior.space == "pixel":
        return (0.5 + (x0_hat - x) / 2).clamp(0.0, 1.0)
    return (0.5 + _decode(prior, x0_hat) - _decode(prior, x)).clamp(0.0, 1.0)


def facts(
    stage: Stage,
    views: Views,
    rows: list[int],
    timesteps: Tensor,
    losses: Tensor,
    prior: Prior,
) -> tuple[Seen, ...]:
    """What stands beside each of the pictures.

    Args:
        rows: which of `views` and `timesteps` [C].
        losses: [len(rows)] each view's L2 loss, a number of x: their mean over all views of a step
            is the loss of that step, regularisers aside.
    """
    seen = []
    for row, loss in zip(rows, losses.tolist(), strict=True):
        azimuth_deg, elevation_deg = float(views.azimuth_deg[row]), float(views.elevation_deg[row])
        words = view_words(azimuth_deg, elevation_deg, stage.view_words)
        level = float(prior.schedule.fractions[timesteps[row]])
        seen.append(Seen(azimuth_deg, elevation_deg, words, int(timesteps[row]), level, loss))
    return tuple(seen)


def _denoised(stage: Stage, prior: Prior, asked: Question, steps: int) -> Tensor:
    target = "one_step" if steps == 1 else "many_steps"
    other = stage.model_copy(update={"target": target, "target_steps": steps})
    return denoise(other, prior, asked)


def _decode(prior: Prior, x: Tensor) -> Tensor:
    """One at a time: a decoder at 512 pixels takes gigabytes an image."""
    return torch.cat([prior.decode(one[None]) for one in x])
