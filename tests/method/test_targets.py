"""Noises and targets against a prior whose every answer is known: clean images are N(m, S^2).

Then eps(x_t, t) = sigma (x_t - alpha m) / (alpha^2 S^2 + sigma^2), with m what the words say, and
the deterministic path from x to noise is x_t = alpha m + sqrt(alpha^2 S^2 + sigma^2) (x - m) / S.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stabledreamer_core.distillation.noise import inverted, mixed
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.target import TARGETS, denoise, evaluations
from stabledreamer_core.priors.schedule import Schedule, ddpm_schedule, flow_schedule
from stabledreamer_core.settings.distillation import Inversion
from stabledreamer_core.settings.stage import Stage

S = 0.4  # standard deviation of the clean images
BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
SCHEDULES = {
    "ddpm": ddpm_schedule((1.0 - BETAS).cumprod(0), torch.float64),
    "flow": flow_schedule(torch.arange(1, 1001, dtype=torch.float64) / 1000, dtype=torch.float64),
}
MEANS = {"": 0.0, "a red bear": 0.8, "blurry": -0.5}  # what the words say of every number
TIMESTEPS = torch.tensor([60, 350, 600, 900])


class Known:
    """The prior; it counts the samples that pass it."""

    space = "latent"

    def __init__(self, schedule: Schedule):
        self.schedule, self.samples = schedule, 0

    def predict_eps(self, x_t: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        self.samples += len(x_t)
        return eps_of(self.schedule, x_t, timesteps, words)


def eps_of(schedule: Schedule, x_t: Tensor, timesteps: Tensor, means: Tensor) -> Tensor:
    alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in schedule.at(timesteps))
    m = means.reshape(-1, 1, 1, 1)
    return sigma * (x_t - alpha * m) / (alpha**2 * S**2 + sigma**2)


def words(text: str, count: int = 1) -> Tensor:
    return torch.full((count, 1, 1), MEANS[text], dtype=torch.float64)


def question(seed: int = 0) -> Question:
    random = torch.Generator().manual_seed(seed)
    shape = (len(TIMESTEPS), 4, 8, 8)
    x, noise = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(2))
    cond = words("a red bear", len(x))
    return Question(0.5 * x, noise, TIMESTEPS, cond, words(""), words("blurry"))


def stage(**settings: Any) -> Stage:
    return Stage(**{"x0_limit": "none", "guidance_scale": 3.0, **settings})


@pytest.fixture(params=list(SCHEDULES))
def prior(request: pytest.FixtureRequest) -> Any:
    return Known(SCHEDULES[request.param])


def parts(prior: Known) -> tuple[Tensor, Tensor]:
    alpha, sigma = prior.schedule.at(TIMESTEPS)
    return alpha.reshape(-1, 1, 1, 1), sigma.reshape(-1, 1, 1, 1)


def noised_at_random(prior: Known, asked: Question) -> Tensor:
    alpha, sigma = parts(prior)
    return alpha * asked.x + sigma * asked.noise


def asked_of(prior: Known, x_t: Tensor, text: str, timesteps: Tensor = TIMESTEPS) -> Tensor:
    return eps_of(prior.schedule, x_t, timesteps, words(text, len(x_t)))


def test_one_step_is_the_posterior_mean(prior: Any) -> None:
    asked = question()
    alpha, sigma = parts(prior)
    x_t = noised_at_random(prior, asked)
    m, gain = MEANS["a red bear"], alpha * S**2 / (alpha**2 * S**2 + sigma**2)
    target = denoise(stage(guidance_scale=1.0), prior, asked)
    torch.testing.assert_close(target, m + gain * (x_t - alpha * m), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("text", "scale"), [("", 0.0), ("a red bear", 1.0)])
def test_inverted_noise_lies_on_the_path_of_the_closed_form(
    prior: Any, text: str, scale: float
) -> None:
    asked = question()
    alpha, sigma = parts(prior)
    m, spread = MEANS[text], (alpha**2 * S**2 + sigma**2).sqrt()
    truth = (alpha * m + spread * (asked.x - m) / S - alpha * asked.x) / sigma
    errors = [
        float((inverted(prior, asked, TIMESTEPS, steps, scale) - truth).norm() / truth.norm())
        for steps in (10, 40, 160)
    ]
    assert errors[2] < 0.02
    assert errors[2] < 0.5 * errors[1] < 0.25 * errors[0]  # it converges


def test_from_inverted_noise_the_path_leads_back_to_the_image(prior: Any) -> None:
    asked = question()
    path = {"noise": "inverted", "target": "many_steps", "guidance_scale": 1.0}
    errors = []
    for steps in (10, 160):
        inversion = Inversion(steps=steps, guidance_scale=1.0)
        back = denoise(stage(**path, inversion=inversion, target_steps=steps), prior, asked)
        errors.append(float((back - asked.x).norm() / asked.x.norm()))
    assert errors[1] < 0.06 and errors[1] < 0.25 * errors[0]
    random = denoise(stage(**path | {"noise": "random"}, target_steps=160), prior, asked)
    assert float((random - asked.x).norm() / asked.x.norm()) > 0.5  # another image


def test_fresh_noise_takes_its_share_of_the_variance() -> None:
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 200_000, generator=random)
    both = mixed(first, second, 0.3)
    assert float(both.std()) == pytest.approx(1.0, abs=0.01)
    assert float((both * first).mean()) == pytest.approx(0.7**0.5, abs=0.01)
    assert torch.equal(mixed(first, second, 0.0), first)


def test_the_two_forms_of_interval_are_one(prior: Any) -> None:
    """x - sigma / alpha (eps_t - eps_s), and x + x0_t - x0_s."""
    asked, schedule = question(), prior.schedule
    target = denoise(stage(target="interval", interval=0.05), prior, asked)
    earlier = TIMESTEPS - 50
    alpha_s, sigma_s = (part.reshape(-1, 1, 1, 1) for part in schedule.at(earlier))
    alpha, sigma = parts(prior)
    x_s = alpha_s * asked.x + sigma_s * asked.noise
    eps_s = asked_of(prior, x_s, "", earlier)
    x0_s = (x_s - sigma_s * eps_s) / alpha_s
    x_t = alpha * x0_s + sigma * eps_s
    cond, uncond = asked_of(prior, x_t, "a red bear"), asked_of(prior, x_t, "")
    eps_t = uncond + 3.0 * (cond - uncond)
    torch.testing.assert_close(target, asked.x - sigma / alpha * (eps_t - eps_s))
    torch.testing.assert_close(target, asked.x + (x_t - sigma * eps_t) / alpha - x0_s)


def test_classifier_is_the_limit_of_strong_guidance(prior: Any) -> None:
    asked = question()

    def pull(name: str, scale: float) -> Tensor:
        return (denoise(stage(target=name, guidance_scale=scale), prior, asked) - asked.x) / scale

    limit = pull("classifier", 7.0)
    torch.testing.assert_close(limit, pull("classifier", 70.0))
    off = [float((pull("one_step", scale) - limit).norm()) for scale in (1e1, 1e2, 1e3)]
    assert off[1] < 0.11 * off[0] and off[2] < 0.11 * off[1]


@pytest.mark.parametrize("noise", ["random", "inverted"])
def test_classifier_with_all_of_the_generative_term_is_sds(prior: Any, noise: str) -> None:
    asked = question()

    def target(**settings: Any) -> Tensor:
        return denoise(stage(noise=noise, **settings), prior, asked)

    none, sds = target(target="classifier"), target(target="one_step")
    assert float((none - sds).norm()) > 0.1 * float(sds.norm())
    for share in (0.3, 1.0):
        mixed = target(target="classifier", generative_share=share)
        torch.testing.assert_close(mixed, torch.lerp(none, sds, share), rtol=1e-7, atol=1e-7)


def test_noise_free_leaves_the_noise_out(prior: Any) -> None:
    asked = question()
    target = denoise(stage(target="noise_free"), prior, asked)
    x_t = noised_at_random(prior, asked)
    cond, uncond, bad = (asked_of(prior, x_t, text) for text in ("a red bear", "", "blurry"))
    low = (prior.schedule.fractions[TIMESTEPS] < 0.2).reshape(-1, 1, 1, 1)
    assert low.any() and not low.all()
    alpha, sigma = parts(prior)
    g = torch.where(low, uncond, uncond - bad) + 3.0 * (cond - uncond)
    torch.testing.assert_close(target, asked.x - sigma / alpha * g)
    # above, this prior's differences are of words alone: other noise, the same target
    other = denoise(stage(target="noise_free"), prior, replace(asked, noise=asked.noise.flip(0)))
    torch.testing.assert_close(other[~low.flatten()], target[~low.flatten()])


def test_shifted_compares_the_prior_with_itself_at_a_later_time(prior: Any) -> None:
    asked = question()
    target = denoise(stage(target="shifted", shift=0.1), prior, asked)
    x_t = noised_at_random(prior, asked)
    cond, uncond = asked_of(prior, x_t, "a red bear"), asked_of(prior, x_t, "")
    later = asked_of(prior, x_t, "a red bear", torch.tensor([66, 385, 660, 990]))
    alpha, sigma = parts(prior)
    g = uncond + 3.0 * (cond - uncond) - later
    torch.testing.assert_close(target, asked.x - sigma / alpha * g)


@pytest.mark.parametrize("noise", ["random", "inverted"])
@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize(("scale", "inversion"), [(3.0, -3.0), (1.0, 0.0)])
def test_evaluations_are_counted_right(
    noise: str, target: str, scale: float, inversion: float
) -> None:
    known: Any = Known(SCHEDULES["ddpm"])
    how = Inversion(steps=3, guidance_scale=inversion)
    asking = stage(noise=noise, target=target, guidance_scale=scale, inversion=how)
    denoise(asking, known, question())
    training = 3 * asking.variational.steps if target == "variational" else 0  # not asked here
    assert known.samples == (evaluations(asking) - training) * len(TIMESTEPS)


def test_every_target_of_the_settings_is_here() -> None:
    allowed = Stage.model_json_schema()["properties"]["target"]["enum"]
    assert list(TARGETS) == allowed
