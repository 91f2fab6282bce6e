"""Perp-Neg against its geometry: what is perpendicular, what is parallel, and what it costs."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from stabledreamer_core.distillation.loss import guided_eps
from stabledreamer_core.distillation.perp_neg import (
    WrongViews,
    perp_neg,
    perpendicular,
    wrong_view_weights,
)
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.target import TARGETS, denoise, evaluations
from stabledreamer_core.priors.schedule import ddpm_schedule
from stabledreamer_core.settings.distillation import Inversion, ViewBias
from stabledreamer_core.settings.stage import Stage

B, K = 3, 2
SHAPE = (4, 5, 5)


def random(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=drawn, dtype=torch.float64)


def said(x_t: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
    """A network that predicts its very words, so that every answer can be chosen."""
    return words.reshape(x_t.shape)


def as_words(eps: Tensor, lead: int) -> Tensor:
    return eps.reshape(*eps.shape[:lead], 1, -1)


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-3, -2, -1))


def test_the_component_is_perpendicular_and_the_rest_parallel() -> None:
    vectors, direction = random(B, K, *SHAPE), random(B, *SHAPE, seed=1)
    across = perpendicular(vectors, direction)
    torch.testing.assert_close(inner(across, direction[:, None]), torch.zeros(B, K).double())
    along = vectors - across
    lengths = inner(along, along).sqrt() * inner(direction, direction).sqrt()[:, None]
    torch.testing.assert_close(inner(along, direction[:, None]).abs(), lengths)


@pytest.mark.parametrize("factor", [1.0, -0.7, 3.0])
def test_words_that_say_the_same_or_the_opposite_change_nothing(factor: float) -> None:
    uncond, cond = random(B, *SHAPE), random(B, *SHAPE, seed=1)
    same = (uncond + factor * (cond - uncond))[:, None].expand(-1, K, -1, -1, -1)
    wrong = WrongViews(as_words(same, 2), torch.ones(B, K).double())
    now = (torch.zeros(B, *SHAPE).double(), torch.zeros(B, dtype=torch.long))
    torch.testing.assert_close(perp_neg(said, *now, uncond, cond, wrong), cond)


def test_guidance_is_the_papers_sum_of_components() -> None:
    """uncond + s (d - sum_k w_k (d_k - <d_k, d> / <d, d> d)), with d = cond - uncond."""
    uncond, cond, other = random(*SHAPE), random(*SHAPE, seed=1), random(K, *SHAPE, seed=2)
    weights = torch.tensor([[0.4, 1.3]], dtype=torch.float64)
    wrong = WrongViews(as_words(other, 1)[None], weights)
    guided = guided_eps(
        *(said, torch.zeros(1, *SHAPE).double(), torch.zeros(1, dtype=torch.long)),
        *(as_words(cond[None], 1), as_words(uncond[None], 1), 7.0),
        wrong=wrong,
    )
    d, total = (cond - uncond).flatten(), torch.zeros(cond.numel()).double()
    for w, one in zip((0.4, 1.3), other, strict=True):
        d_k = (one - uncond).flatten()
        total += w * (d_k - d_k.dot(d) / d.dot(d) * d)
    torch.testing.assert_close(guided[0].flatten(), uncond.flatten() + 7.0 * (d - total))
    # what is in common with the view's own words is as strong as without
    torch.testing.assert_close((guided[0] - uncond).flatten().dot(d), 7.0 * d.dot(d))


def test_a_view_is_led_away_from_the_others_alone() -> None:
    published = {  # a exp(-b r) + c: (4, .5, -2.426), (1, .5, .967) and (1, .5, -.606)
        0.0: (0.0, 1.574),
        90.0: (1.574, 0.0),
        180.0: (1.967, 0.394),
        135.0: (0.7788 + 0.967, 0.7788 - 0.606),
    }
    for azimuth, weights in published.items():
        for turned in (azimuth, -azimuth, azimuth + 720.0):
            assert wrong_view_weights(turned) == pytest.approx(weights, abs=1e-3)
    steps = [wrong_view_weights(float(azimuth)) for azimuth in range(181)]
    for one, after in pairwise(steps):
        assert one[0] < after[0] < one[0] + 0.03 and abs(one[1] - after[1]) < 0.03


@pytest.mark.parametrize("noise", ["random", "inverted"])
@pytest.mark.parametrize("target", list(TARGETS))
def test_its_samples_are_counted(noise: str, target: str) -> None:
    passed: list[int] = []

    def predict_eps(x_t: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        assert len(x_t) == len(timesteps) == len(words)
        passed.append(len(x_t))
        return 0.1 * x_t + words.mean((1, 2)).reshape(-1, 1, 1, 1)

    schedule = ddpm_schedule(torch.linspace(0.99, 0.01, 1000, dtype=torch.float64))
    prior: Any = type("Counted", (), {"schedule": schedule})()
    prior.predict_eps = predict_eps
    cond, uncond, negative = (random(n, 2, 6, seed=n) for n in (B, 1, 1))
    wrong = WrongViews(random(B, K, 2, 6), torch.ones(B, K).double())
    timesteps = torch.tensor([100, 500, 900])
    x = random(B, *SHAPE)
    asked = Question(x, random(B, *SHAPE, seed=5), timesteps, cond, uncond, negative, wrong)
    stage = Stage(
        noise=noise,
        target=target,
        target_steps=3,
        inversion=Inversion(steps=2, guidance_scale=-2.0),
        view_bias=ViewBias(perp_neg=0.5),
    )
    denoise(stage, prior, asked)
    training = 3 * stage.variational.steps if target == "variational" else 0  # not asked here
    assert sum(passed) == (evaluations(stage) - training) * B
    assert evaluations(stage) > evaluations(stage.model_copy(update={"view_bias": ViewBias()}))
