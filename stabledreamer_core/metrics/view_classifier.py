"""Classify with the prior itself which side a render shows: no judge, no labels, any prior.

A diffusion model is a classifier (Li et al. 2023, arXiv 2303.16203): of several texts, that one
explains an image best under which the model denoises it best. Here the texts are the prompt with
each of the view words, so an asset whose back is best explained by "front view" has a second face.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stabledreamer_core.distillation.prior_error import log_error
from stabledreamer_core.distillation.view_prompts import OVERHEAD, VOCABULARIES, view_words
from stabledreamer_core.priors import Prior
from stabledreamer_core.seeds import generator


@dataclass(frozen=True)
class Sides:
    """What the prior takes V views for."""

    words: tuple[str, ...]  # W view words it chose from
    errors: Tensor  # [V, W] mean log denoising error; the lowest of a row explains it best

    @property
    def best(self) -> list[str]:
        """The best words of each view."""
        return [self.words[index] for index in self.errors.argmin(1).tolist()]


def classify_sides(
    prior: Prior,
    images: Tensor,
    prompt: str,
    vocabulary: str,
    noise_levels: tuple[float, ...],
    noises: int,
    seed: int = 0,
) -> Sides:
    """Find which view words explain each image best to the prior.

    The error is || eps - eps(x_t, t, y) ||^2 without guidance. All words see the same noise
    (the paper's pairing: it cancels most of the noise's own part of the error), and logarithms are
    averaged (distillation/prior_error.py).

    Cost: V * W * noise levels * noises passes of one image through the UNet; for eight views,
    eight words, three levels and one noise 192, as many as 48 steps of a stage with two views.

    Args:
        images: [V, 3, R, R] in [0, 1] at the prior's resolution.
        prompt: without view words.
        vocabulary: "four" or "eight"; overhead is left out.
        noise_levels: fractions of the schedule, in (0, 1).
        noises: drawn for each view and level.
        seed: of the noise.
    """
    words = tuple(word for word in VOCABULARIES[vocabulary] if word != OVERHEAD)
    embeddings = prior.embed([f"{prompt}, {word}" for word in words])
    with torch.no_grad():
        x = prior.encode(images)
    total = torch.zeros(len(x), len(words), dtype=torch.float64, device=x.device)
    for level in noise_levels:
        timestep = prior.schedule.index(level)
        timesteps = torch.full((len(x),), timestep, device=x.device)
        for draw in range(noises):
            random = generator(seed, "view classifier", timestep, draw)
            noise = torch.randn(x.shape, generator=random).to(x)
            for index in range(len(words)):
                cond = embeddings[index : index + 1].expand(len(x), -1, -1)
                total[:, index] += log_error(prior, x, noise, timesteps, cond)
    return Sides(words, total / (len(noise_levels) * noises))


def true_words(azimuth_deg: Tensor, elevation_deg: float, vocabulary: str) -> list[str]:
    """Return the view words of each camera's real direction."""
    return [view_words(azimuth, elevation_deg, vocabulary) for azimuth in azimuth_deg.tolist()]


def accuracy(best: list[str], true: list[str]) -> float:
    """Return the share of views whose best words are those of their direction (chance: 1 / words).

    How it misleads: the asset was made to please a prior, perhaps this very one, under these very
    words, so the prior may share its mistakes. At 45 degrees "front view" and "side
    view" are both right, yet only one counts.
    """
    return sum(a == b for a, b in zip(best, true, strict=True)) / len(true)


def front_share(best: list[str]) -> float:
    """Return the share of views called a front; 3/8 for a toy with one face, of eight views.

    A weight-free Janus measure: a second face raises it.
    """
    return sum(map(is_front, best)) / len(best)


def has_second_face(best: list[str]) -> bool:
    """Tell whether more than half of the views are called a front.

    Of eight views one face gives three, two faces back to back give six, and two a quarter turn
    apart give five; so one misjudged view does not make a face, nor hide one at the back.
    """
    return front_share(best) > 0.5


def front_arcs(best: list[str]) -> int:
    """Count the separate arcs of neighbouring views that are called a front.

    1 for one face; 2 for two faces back to back; 0 if no view is. It says where faces are, where
    `front_share` says how much of the toy they take.

    How it misleads: one misjudged view in eight adds an arc, or joins two; faces a quarter turn
    apart are one arc; it means nothing for what has no front, such as a cactus.

    Args:
        best: words by azimuth, at even steps of a full turn.
    """
    front = [is_front(words) for words in best]
    if all(front):
        return 1
    return sum(
        here and not before for before, here in zip([front[-1], *front], front, strict=False)
    )


def is_front(words: str) -> bool:
    """Tell whether view words name a front: "front view", "front left view", "front right view"."""
    return words.startswith("front")


def agreement(best: list[str], judged: Tensor, elevation_deg: float, vocabulary: str) -> float:
    """Return the share of views for which the prior and the judge choose the same words.

    This validates the classifier where there is a judge; both may be wrong together.

    Args:
        best: the prior's words of V views.
        judged: [V, 8] the judge's probabilities of the arcs about azimuth 0, 45, ...
    """
    azimuth_deg = judged.argmax(1).double() * (360.0 / judged.shape[1])
    return accuracy(best, true_words(azimuth_deg, elevation_deg, vocabulary))
