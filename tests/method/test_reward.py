"""Weighted means of several targets, against the prior of test_targets.py, known in closed form.

Of its words with the mean m, and v = alpha^2 S^2 + sigma^2, the error that a reward is made of is
eps(x_t) - eps = (sigma alpha (z - m) - alpha^2 S^2 eps) / v for the candidate z.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from stabledreamer_core.debugger.probe import probe
from stabledreamer_core.distillation.loss import l2_loss
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.reward import prior_reward, rewarded, weighted_mean
from stabledreamer_core.distillation.sample_step import draw_noise
from stabledreamer_core.distillation.target import TARGETS, denoise, evaluations
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.loop import optimize
from stabledreamer_core.optimization.observe import Observation
from stabledreamer_core.scene.gaussians import init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import Config, Debug, with_overrides
from stabledreamer_core.settings.distillation import Inversion, Reward
from stabledreamer_core.settings.stage import Stage
from tests.method.test_optimize import CPU, begin, small_stage
from tests.method.test_targets import MEANS, SCHEDULES, TIMESTEPS, Known, S, eps_of, question, stage

LEVELS = (0.3, 0.7)
PURPOSES: tuple[tuple[str, ...], ...] = ((), ("noise 1",), ("noise 2",))


def asking(samples: int, sharpness: float = 1.0, **settings: Any) -> Stage:
    reward = Reward(samples=samples, sharpness=sharpness, noise_levels=LEVELS)
    return stage(reward=reward, **settings)


def noises(asked: Question, number: int) -> Tensor:
    if number == 0:
        return asked.noise
    random = torch.Generator().manual_seed(100 + number)
    return torch.randn(asked.x.shape, generator=random, dtype=torch.float64)


def gain(known: Known, z: Tensor, noise: Tensor) -> Tensor:
    """The reward by the closed form."""
    total = torch.zeros(len(z), dtype=torch.float64)
    for level in LEVELS:
        index = torch.tensor(known.schedule.index(level))
        alpha, sigma = (float(part) for part in known.schedule.at(index))
        v = alpha**2 * S**2 + sigma**2
        errors = [
            ((sigma * alpha * (z - MEANS[text]) - alpha**2 * S**2 * noise) / v)
            .square()
            .mean((1, 2, 3))
            for text in ("", "a red bear")
        ]
        total += (errors[0] / errors[1]).log() / len(LEVELS)
    return total


@pytest.fixture(params=list(SCHEDULES))
def known(request: pytest.FixtureRequest) -> Any:
    return Known(SCHEDULES[request.param])


def test_two_rewards_weigh_by_a_sigmoid_whatever_their_unit() -> None:
    targets = torch.randn(2, 3, 4, 5, 5, dtype=torch.float64)
    rewards = torch.tensor([[1.0, -8.0, 0.02], [3.0, -9.0, 0.01]], dtype=torch.float64)
    better = 1.0 / (1.0 + torch.exp(torch.tensor(-2.0 * 0.7)))  # standardised, they are -1 and 1
    share = torch.stack([1.0 - better, better, better, 1.0 - better, better, 1.0 - better])
    share = share.reshape(3, 2).T[..., None, None, None].double()
    truth = (share * targets).sum(0)
    torch.testing.assert_close(weighted_mean(targets, rewards, 0.7), truth, rtol=1e-6, atol=1e-6)


def test_equal_rewards_give_the_plain_mean_and_great_sharpness_the_best() -> None:
    targets = torch.randn(4, 2, 3, 6, 6, dtype=torch.float64)
    rounding = 1e-12 * torch.randn(4, 2, dtype=torch.float64)
    plain = targets.mean(0)
    torch.testing.assert_close(weighted_mean(targets, 5.0 + 0.0 * rounding, 100.0), plain)
    torch.testing.assert_close(
        weighted_mean(targets, 5.0 + rounding, 1.0), plain, rtol=0, atol=1e-4
    )
    rewards = torch.tensor([[1.0, 4.0], [2.0, 3.0], [4.0, 2.0], [3.0, 1.0]])
    torch.testing.assert_close(weighted_mean(targets, rewards, 0.0), plain)
    best = torch.stack([targets[2, 0], targets[0, 1]])
    torch.testing.assert_close(weighted_mean(targets, rewards, 100.0), best)


def test_the_priors_reward_is_the_closed_form_and_prefers_what_the_prompt_says(known: Any) -> None:
    asked, noise = question(), noises(question(), 9)
    m = MEANS["a red bear"]
    spread = S * torch.randn(asked.x.shape, generator=torch.Generator().manual_seed(1)).double()
    found = {}
    for where in (0.0, 0.5 * m, m):
        z = where + spread
        found[where] = prior_reward(asking(2), known, asked, z, noise)
        torch.testing.assert_close(found[where], gain(known, z, noise), rtol=1e-9, atol=1e-9)
    assert (found[0.0] < 0.0).all() and (found[m] > 0.0).all()
    assert (found[0.0] < found[0.5 * m]).all() and (found[0.5 * m] < found[m]).all()


@pytest.mark.parametrize("target", list(TARGETS))
def test_the_gradient_is_the_weighted_sum_of_each_noises(known: Any, target: str) -> None:
    asked, how = question(), asking(3, sharpness=2.0, target=target)
    each = [denoise(how, known, replace(asked, noise=noises(asked, k))) for k in range(3)]
    rewards = torch.stack([gain(known, one, noises(asked, 3)) for one in each])
    centred = rewards - rewards.mean(0)
    spread = centred.square().mean(0).sqrt()
    same = float(spread.max()) < 1e-9  # some targets of this prior have no noise in them
    assert not same or target not in ("one_step", "many_steps", "interval", "shifted")
    raw = torch.exp(2.0 * centred / spread.clamp(min=1e-6))
    weights = raw / raw.sum(0)
    assert same or float(weights.max()) > 0.5
    x = asked.x.clone().requires_grad_()
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0]).double()

    def gradient(towards: Tensor) -> Tensor:
        return torch.autograd.grad(l2_loss(x, towards, weight).sum(), x)[0]

    shares = weights[..., None, None, None]
    truth = sum(share * gradient(one) for share, one in zip(shares, each, strict=True))
    found = gradient(rewarded(how, known, asked, lambda k: noises(asked, k)))
    torch.testing.assert_close(found, truth, rtol=1e-7, atol=1e-7)


def test_a_single_sample_is_the_target_itself_and_draws_nothing(known: Any) -> None:
    asked = question()
    found = rewarded(asking(1), known, asked, lambda _: pytest.fail("drawn"))
    assert torch.equal(found, denoise(stage(), known, asked))


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize(("samples", "noise"), [(1, "random"), (3, "random"), (2, "inverted")])
def test_samples_through_the_network_are_counted(samples: int, noise: str, target: str) -> None:
    counted: Any = Known(SCHEDULES["ddpm"])
    inversion = Inversion(steps=3, guidance_scale=-3.0)
    how = asking(samples, target=target, noise=noise, noise_fresh=0.2, inversion=inversion)
    asked = question()
    rewarded(how, counted, asked, lambda k: noises(asked, k))
    training = 3 * how.variational.steps if target == "variational" else 0  # not asked here
    assert counted.samples == (evaluations(how) - training) * len(TIMESTEPS)


def test_the_first_noise_is_the_one_of_before_and_others_are_independent_of_it() -> None:
    like = torch.zeros(2 * 2, 4, 60, 60)
    first = [
        torch.randn(2, 4, 60, 60, generator=generator(seed, "stage2", 5, "noise"))
        for seed in (7, 8)
    ]
    drawn = [draw_noise(like, 5, [7, 8], "stage2", *purpose) for purpose in PURPOSES]
    assert torch.equal(drawn[0], torch.cat(first))
    assert torch.equal(drawn[2][2:], draw_noise(like[:2], 5, [8], "stage2", "noise 2"))  # alone
    flat = torch.stack([one[start : start + 2].flatten() for one in drawn for start in (0, 2)])
    off = torch.corrcoef(flat) - torch.eye(6)
    assert float(off.abs().max()) < 4 / flat.shape[1] ** 0.5


def worded_prior(seen: list[tuple[Tensor, Tensor]] | None = None) -> Any:
    """The known prior for the loop: what words say is the mean of their embedding."""
    schedule = SCHEDULES["flow"]

    def predict_eps(x_t: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        if seen is not None:
            seen.append((x_t, timesteps))
        return eps_of(schedule, x_t, timesteps, words.mean((1, 2))).to(x_t)

    return SimpleNamespace(
        schedule=schedule,
        space="pixel",
        encode=lambda images: 2 * images - 1,
        decode=lambda x: (x + 1) / 2,
        embed=lambda texts: torch.linspace(0.0, 0.9, len(texts))[:, None, None].expand(-1, 4, 8),
        predict_eps=predict_eps,
    )


def watch(how: Stage, prior: Any, seeds: list[int]) -> list[Observation]:
    starts = [init_ball(60, 0.5, 0.1, 0.3, generator("reward", seed)) for seed in seeds]
    embeddings = torch.stack([torch.full((9, 4, 8), 0.1 * seed) for seed in seeds])
    steps: list[Observation] = []
    optimize(
        *(how, begin(how, starts, seeds), prior, embeddings, torch.zeros(1, 4, 8)),
        seeds=seeds,
        name="stage1",
        observe=steps.append,
    )
    return steps


def test_an_object_has_the_targets_it_has_alone() -> None:
    gentle = {"iterations": 1, "guidance_scale": 1.0, "x0_limit": "none"}
    how = small_stage(**gentle, reward={"samples": 3, "sharpness": 5.0})
    together, alone = watch(how, worded_prior(), [6, 8])[0], watch(how, worded_prior(), [8])[0]
    plain = watch(small_stage(**gentle), worded_prior(), [8])[0]
    assert together.x0_hat is not None and alone.x0_hat is not None and plain.x0_hat is not None
    torch.testing.assert_close(together.x0_hat[2:], alone.x0_hat, rtol=1e-4, atol=1e-4)
    assert float((plain.x0_hat - alone.x0_hat).abs().mean()) > 1e-3
    assert plain.asked is not None and alone.asked is not None
    assert torch.equal(plain.asked.noise, alone.asked.noise)


@pytest.mark.parametrize("noise", ["random", "object"])
def test_each_candidate_has_its_noise_and_the_judges_is_new_at_every_step(noise: str) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    how = small_stage(
        iterations=2, target_reuse=1, guidance_scale=1.0, noise=noise, reward={"samples": 2}
    )
    steps = watch(how, worded_prior(seen), [6])
    assert len(seen) == 2 * 6  # two targets, and each judged without the prompt and with it
    found = []
    for step, calls in zip(steps, (seen[:6], seen[6:]), strict=True):
        assert step.asked is not None
        own = [noise_in(x_t, step.asked.x, timesteps) for x_t, timesteps in calls[:2]]
        torch.testing.assert_close(own[0], step.asked.noise, rtol=1e-3, atol=1e-3)
        targets = [x0_of(x_t, timesteps, 0.6).clamp(-1, 1) for x_t, timesteps in calls[:2]]
        judges = [noise_in(calls[2 + k][0], targets[k // 2], calls[2 + k][1]) for k in range(4)]
        for other in judges[1:]:
            torch.testing.assert_close(other, judges[0], rtol=1e-3, atol=1e-3)
        assert (
            float((own[0] - own[1]).abs().min()) > 1e-6
        )  # nowhere the same, on the object neither
        fresh = draw_noise(step.asked.x, step.step, [6], "stage1", "noise 2")
        torch.testing.assert_close(judges[0], fresh, rtol=1e-3, atol=1e-3)
        found += [*own, judges[0]]
    alike = torch.corrcoef(torch.stack([one.flatten() for one in found])) - torch.eye(6)
    assert float(alike.abs().max()) < 0.2  # of 1,536 numbers


def noise_in(x_t: Tensor, x: Tensor, timesteps: Tensor) -> Tensor:
    alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in SCHEDULES["flow"].at(timesteps))
    return ((x_t.double() - alpha * x.double()) / sigma).float()


def x0_of(x_t: Tensor, timesteps: Tensor, m: float) -> Tensor:
    alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in SCHEDULES["flow"].at(timesteps))
    eps = eps_of(SCHEDULES["flow"], x_t.double(), timesteps, torch.full((len(x_t),), m))
    return (x_t.double() - sigma * eps) / alpha


def test_the_debugger_shows_the_weighted_target() -> None:
    splats = init_ball(50, 0.5, 0.1, 0.3, generator("reward"))
    shown = {}
    for samples in (1, 3):
        how = small_stage(
            **{"target": "interval", "guidance_scale": 1.0},
            reward={"samples": samples, "sharpness": 5.0},
        )
        looks = probe(
            Debug(views=2, many_steps=0), how, worded_prior(), splats, "a bear", [0.5], CPU
        )
        ((shown[samples], _),) = looks
    assert torch.equal(shown[1]["one step"], shown[3]["one step"])
    assert float((shown[1]["difference"] - shown[3]["difference"]).abs().mean()) > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["reward.samples=2", "noise=inverted"], "set noise_fresh above 0"),
        (["reward.samples=0"], "stage1.reward.samples is 0"),
        (["reward.by=judge"], "stage1.reward.by is 'judge': input should be 'prior'"),
        (["reward.noise_levels=[]"], "stage1.reward.noise_levels"),
    ],
)
def test_bad_settings_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_overrides(Config(), [f"stage1.{setting}" for setting in settings])
