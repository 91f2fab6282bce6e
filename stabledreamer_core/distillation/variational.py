"""VSD's second network: a LoRA of each object that learns what its renders look like.

Variational score distillation (ProlificDreamer, Wang et al. 2023, arXiv 2305.16213) replaces the
noise of SDS by what a network predicts that knows the renders alone: the prior with a LoRA
(priors/lora.py), trained beside by the ordinary denoising loss. The paper's is told the camera by
an embedding of its pose. Ours is told it by the words of the view that the prompt already has,
which the frozen network understands and which needs no new layer.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.distillation.annealing import sample_timesteps
from stabledreamer_core.distillation.loss import add_noise
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.sample_step import draw_noise
from stabledreamer_core.memory import halve_on_oom, upload
from stabledreamer_core.priors import Prior
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.distillation import Variational
from stabledreamer_core.settings.stage import Stage

LORA_STATE = ("weights", "step", "exp_avg", "exp_avg_sq")  # of each LoRA, the last three AdamW's


class Loras:
    """The LoRAs of B objects, and AdamW's moments: no object's depend on another's."""

    def __init__(self, settings: Variational, weights: list[Tensor]):
        """Take each object's weights [P] to begin with."""
        self.weights = [torch.nn.Parameter(each) for each in weights]
        fused = weights[0].is_cuda or None
        self.optimizer = torch.optim.AdamW(self.weights, lr=settings.learning_rate, fused=fused)

    def each(self, views: int) -> list[Tensor]:
        """Return the LoRA of each image [B C] of C views of each object."""
        return [weights for weights in self.weights for _ in range(views)]

    def tensors(self) -> dict[str, Tensor]:
        """Return all of `LORA_STATE`, each [B, ...]."""
        moments: dict[str, Any] = {
            name: torch.stack([self.optimizer.state[each][name] for each in self.weights])
            for name in LORA_STATE[1:]
        }
        return {"weights": torch.stack([each.detach() for each in self.weights])} | moments

    @classmethod
    def load(cls, settings: Variational, tensors: dict[str, Tensor]) -> "Loras":
        """Take what `tensors` returned."""
        loras = cls(settings, [*tensors["weights"].clone()])
        for row, each in enumerate(loras.weights):
            moments = {name: tensors[name][row].clone() for name in LORA_STATE[1:]}
            loras.optimizer.state[each] = moments
        return loras


def begin_loras(stage: Stage, prior: Prior, seeds: list[int], name: str) -> Loras:
    """Return a LoRA for each object, drawn from its seed, that changes nothing yet."""
    settings = stage.variational
    randoms = [generator(seed, name, "lora") for seed in seeds]
    return Loras(settings, [prior.begin_lora(settings.rank, random) for random in randoms])


def own_eps(stage: Stage, prior: Prior, asked: Question, x_t: Tensor) -> Tensor:
    """Predict the noise in x_t [B, ...] by each image's own LoRA.

    A question without LoRAs, as the debugger's after a run, is answered as by new ones: by the
    prior itself.
    """
    if asked.loras is None:
        return prior.predict_eps(x_t, asked.timesteps, asked.cond)
    eps = torch.empty_like(x_t)
    for lora, rows in _groups(asked.loras, prior.chunk):
        now = (x_t[rows], asked.timesteps[rows], asked.cond[rows])
        eps[rows] = prior.lora_eps(lora, stage.variational.rank, *now)
    return eps


def train(
    stage: Stage,
    prior: Prior,
    asked: Question,
    loras: Loras,
    step: int,
    seeds: list[int],
    name: str,
) -> None:
    """Take the stage's AdamW steps of || eps_lora(x_t, t, y) - eps ||^2 on the images of `asked`.

    Each has noise and timesteps of its own, the latter from the whole schedule. The loss is a sum,
    not a mean, so that gradients do not vanish in half precision.
    """
    for turn in range(stage.variational.steps):
        purpose = f"lora {turn}"
        noise = draw_noise(asked.x, step, seeds, name, purpose)
        timesteps = _timesteps(prior, len(asked.x) // len(seeds), step, seeds, name, purpose)
        _gradients(stage, prior, asked, noise, timesteps, loras)
        loras.optimizer.step()
        loras.optimizer.zero_grad(set_to_none=True)


def _gradients(
    stage: Stage, prior: Prior, asked: Question, noise: Tensor, timesteps: Tensor, loras: Loras
) -> None:
    """Leave the gradient of each LoRA's loss in its weights."""
    x_t = add_noise(asked.x, noise, *prior.schedule.at(timesteps))
    each = loras.each(len(x_t) // len(loras.weights))

    def work(size: int) -> None:
        loras.optimizer.zero_grad(set_to_none=True)
        for lora, rows in _groups(each, size):
            now = (x_t[rows], timesteps[rows], asked.cond[rows])
            eps = prior.lora_eps(lora, stage.variational.rank, *now)
            (eps - noise[rows]).square().sum().backward()

    whole = prior.chunk or len(x_t)
    _, fitting = halve_on_oom(work, whole, "samples of the LoRA")
    if fitting < whole:
        prior.chunk = fitting


def _groups(loras: list[Tensor], most: int) -> Iterator[tuple[Tensor, slice]]:
    """Neighbouring images of one LoRA, at most `most` at once (0: all)."""
    for _, group in groupby(range(len(loras)), key=lambda row: id(loras[row])):
        rows = list(group)
        size, end = most or len(rows), rows[-1] + 1
        for first in range(rows[0], end, size):
            yield loras[first], slice(first, min(first + size, end))


def _timesteps(
    prior: Prior, count: int, step: int, seeds: list[int], name: str, purpose: str
) -> Tensor:
    """Draw `count` timesteps for each object from all of the schedule's."""
    indices = prior.schedule.indices
    randoms = [generator(seed, name, step, purpose, "timesteps") for seed in seeds]
    drawn = [sample_timesteps(0.0, 1.0, count, len(indices), random) for random in randoms]
    return indices[upload(torch.cat(drawn), indices.device)]
