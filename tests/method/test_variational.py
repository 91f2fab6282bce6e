"""VSD: its target, and the LoRA that learns the renders beside, on real networks of small size."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stabledreamer_core.debugger.record import pictures
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.target import denoise, evaluations
from stabledreamer_core.distillation.variational import Loras, begin_loras, train
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.guard import Guard, all_finite
from stabledreamer_core.optimization.loop import optimize
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.scene.gaussians import KEYS, init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import load_config
from stabledreamer_core.settings.stage import Stage
from tests import tiny_families
from tests.method.test_optimize import CPU, begin, small_stage, strategy_of

PRIORS = ("tiny_if", "tiny_sd", "tiny_sd_v", "flow")
SCALE = 4.0


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rectified flow's transformer: Stable Diffusion 3's."""
    folder = tmp_path_factory.mktemp("flow") / "tiny-sd3"
    tiny_families.save("StableDiffusion3Pipeline", folder)
    return folder


@pytest.fixture(params=PRIORS)
def prior(request: pytest.FixtureRequest) -> Prior:
    return load_prior(str(request.getfixturevalue(request.param)), dtype="float64")


def stage(**variational: Any) -> Stage:
    how: dict[str, Any] = {"target": "variational", "x0_limit": "none", "guidance_scale": SCALE}
    return Stage(**how, variational=variational)


def question(prior: Prior, count: int, loras: list[Tensor] | None = None) -> Question:
    random = torch.Generator().manual_seed(0)
    shape = (count, *prior.sample_shape)
    x, noise = (torch.randn(shape, generator=random).to(prior.dtype) for _ in range(2))
    timesteps = torch.linspace(40, 950, count).long()
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    return Question(0.5 * x, noise, timesteps, cond.expand(count, -1, -1), uncond, loras=loras)


def shaken(loras: Loras) -> Loras:
    """LoRAs that have learned something: no product B A is zero."""
    for number, each in enumerate(loras.weights):
        drawn = torch.randn(each.shape, generator=torch.Generator().manual_seed(number))
        each.data += 0.2 * drawn.to(each)
    return loras


def parts(prior: Prior, asked: Question) -> tuple[Tensor, Tensor]:
    alpha, sigma = prior.schedule.at(asked.timesteps)
    return alpha.reshape(-1, 1, 1, 1), sigma.reshape(-1, 1, 1, 1)


def answers(prior: Prior, asked: Question) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, and what the frozen network says of it with the prompt and without."""
    alpha, sigma = parts(prior, asked)
    x_t = alpha * asked.x + sigma * asked.noise
    cond = prior.predict_eps(x_t, asked.timesteps, asked.cond)
    return x_t, cond, prior.predict_eps(x_t, asked.timesteps, asked.uncond.expand_as(asked.cond))


def loss_of(prior: Prior, lora: Tensor, rank: int, asked: Question, draws: int = 16) -> float:
    """The mean denoising loss over noise and timesteps that training never drew."""
    random, total = torch.Generator().manual_seed(77), 0.0
    for _ in range(draws):
        timesteps = torch.randint(len(prior.schedule), (len(asked.x),), generator=random)
        noise = torch.randn(asked.x.shape, generator=random).to(asked.x)
        alpha, sigma = (one.reshape(-1, 1, 1, 1) for one in prior.schedule.at(timesteps))
        with torch.no_grad():
            x_t = alpha * asked.x + sigma * noise
            eps = prior.lora_eps(lora, rank, x_t, timesteps, asked.cond)
        total += float((eps - noise).square().mean())
    return total / draws


def test_untrained_it_is_guidance_of_one_less(prior: Prior) -> None:
    """eps_lora is eps(x_t, y), so what is left is (s - 1) (eps(x_t, y) - eps(x_t, ""))."""
    loras = begin_loras(stage(), prior, [3, 4], "stage1")
    asked = question(prior, 4, loras.each(2))
    _, cond, uncond = answers(prior, asked)
    alpha, sigma = parts(prior, asked)
    truth = asked.x - sigma / alpha * (SCALE - 1.0) * (cond - uncond)
    torch.testing.assert_close(denoise(stage(), prior, asked), truth)
    # and so says the debugger of a finished run, which has no LoRAs
    torch.testing.assert_close(denoise(stage(), prior, question(prior, 4)), truth)


def test_trained_it_is_the_difference_of_the_two_networks(prior: Prior) -> None:
    loras = shaken(begin_loras(stage(), prior, [3, 4], "stage1"))
    asked = question(prior, 4, loras.each(2))
    x_t, cond, uncond = answers(prior, asked)
    alpha, sigma = parts(prior, asked)
    with torch.no_grad():
        own = torch.cat(
            [
                prior.lora_eps(
                    loras.weights[row // 2], 4, x_t[row, None], asked.timesteps[row, None],
                    asked.cond[row, None],
                )
                for row in range(4)
            ]
        )  # fmt: skip
    assert float((own - cond).norm()) > 1e-2 * float(cond.norm())
    truth = asked.x - sigma / alpha * (uncond + SCALE * (cond - uncond) - own)
    target = denoise(stage(), prior, asked)
    torch.testing.assert_close(target, truth)
    # of some of the images, each with the LoRA of its own object
    torch.testing.assert_close(denoise(stage(), prior, asked.of([3, 1])), target[[3, 1]])


def test_training_lowers_the_loss_and_changes_nothing_but_the_lora(prior: Prior) -> None:
    training = stage(rank=8, learning_rate=3e-3, steps=50)
    loras = begin_loras(training, prior, [3], "stage1")
    asked = question(prior, 1, loras.each(1))
    before, frozen = loss_of(prior, loras.weights[0], 8, asked), answers(prior, asked)
    network = prior._network(prior._family.denoiser)
    weights = {name: part.clone() for name, part in network.state_dict().items()}
    for step in range(2):
        train(training, prior, asked, loras, step, [3], "stage1")
    after = loss_of(prior, loras.weights[0], 8, asked)
    print(f"denoising loss {before:.4f} -> {after:.4f}")
    assert after < 0.98 * before
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(part, weights[name]) for name, part in network.state_dict().items())
    assert all(map(torch.equal, answers(prior, asked), frozen))
    assert all(each.grad is None for each in loras.weights)


def test_a_step_is_adamws_on_fresh_noise_at_all_levels(
    tiny_if: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the network is asked in training, and the gradient of the loss of that question."""
    prior = load_prior(str(tiny_if), dtype="float64")
    training = stage(steps=2)
    loras = shaken(begin_loras(training, prior, [3], "stage1"))
    asked = question(prior, 2, loras.each(2))
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    lora_eps = prior.lora_eps

    def watched(weights: Tensor, rank: int, *now: Tensor) -> Tensor:
        seen.append((now[0].clone(), now[1], weights.detach().clone()))
        return lora_eps(weights, rank, *now)

    monkeypatch.setattr(prior, "lora_eps", watched)
    for step in range(60):
        train(training, prior, asked, loras, step, [3], "stage1")
    monkeypatch.undo()

    # 1. Noise is standard normal and never the same; timesteps are all of the schedule's.
    noises, levels = [], torch.cat([timesteps for _, timesteps, _ in seen])
    for x_t, timesteps, _ in seen:
        alpha, sigma = (one.reshape(-1, 1, 1, 1) for one in prior.schedule.at(timesteps))
        noises.append((x_t - alpha * asked.x) / sigma)
    every = torch.stack(noises)
    assert len(seen) == 120 and abs(float(every.mean())) < 0.01
    assert abs(float(every.std()) - 1.0) < 0.01
    flat = torch.cat([every.flatten(0, 1).flatten(1), asked.noise.flatten(1)])
    assert float((flat @ flat.T / flat.shape[1] - torch.eye(len(flat))).abs().max()) < 0.3
    assert levels.min() < 50 and levels.max() > 950
    assert abs(float(levels.double().mean()) - 499.5) < 40

    # 2. The first two of AdamW's steps, written out: betas .9 and .999, decay .01.
    rate, weights = 1e-4, seen[0][2]
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    for turn in (1, 2):
        x_t, timesteps, _ = seen[turn - 1]
        free = weights.clone().requires_grad_()
        loss = (prior.lora_eps(free, 4, x_t, timesteps, asked.cond) - noises[turn - 1]).square()
        (gradient,) = torch.autograd.grad(loss.sum(), free)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = first / (1 - 0.9**turn) / ((second / (1 - 0.999**turn)).sqrt() + 1e-8)
        weights = weights * (1 - rate * 0.01) - rate * step
        torch.testing.assert_close(seen[turn][2], weights, rtol=1e-9, atol=1e-11)


def test_objects_train_as_they_do_alone(prior: Prior) -> None:
    training = stage(steps=2, learning_rate=1e-2)
    seeds = [7, 8]
    together = begin_loras(training, prior, seeds, "stage1")
    both = question(prior, 4, together.each(2))
    for step in range(2):
        train(training, prior, both, together, step, seeds, "stage1")
    assert not torch.equal(*together.weights)
    for index, seed in enumerate(seeds):
        alone = begin_loras(training, prior, [seed], "stage1")
        rows = [2 * index, 2 * index + 1]
        asked = question(prior, 4, [alone.weights[0]] * 4).of(rows)
        for step in range(2):
            train(training, prior, asked, alone, step, [seed], "stage1")
        torch.testing.assert_close(
            alone.weights[0], together.weights[index], rtol=1e-10, atol=1e-12
        )


def test_out_of_memory_it_trains_in_smaller_parts_to_the_same_end(
    tiny_if: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior, ends = load_prior(str(tiny_if), dtype="float64"), []
    lora_eps, fits, largest = prior.lora_eps, 99, 0

    def small(weights: Tensor, rank: int, x_t: Tensor, *rest: Tensor) -> Tensor:
        nonlocal largest
        eps = lora_eps(weights, rank, x_t, *rest)
        if len(x_t) > fits:
            eps.sum().backward()  # what a part that did fit has left
            raise torch.OutOfMemoryError
        largest = max(largest, len(x_t))
        return eps

    monkeypatch.setattr(prior, "lora_eps", small)
    for fits in (99, 1):
        largest = 0
        loras = shaken(begin_loras(stage(), prior, [3], "stage1"))
        asked = question(prior, 3, loras.each(3))
        with pytest.warns(UserWarning, match="samples of the LoRA") if fits == 1 else nullcontext():
            train(stage(), prior, asked, loras, 0, [3], "stage1")
        assert largest == min(fits, 3)
        ends.append(loras.weights[0].detach())
    torch.testing.assert_close(*ends, rtol=1e-10, atol=1e-12)
    assert prior.chunk == 1


def run(
    prior: Prior, how: Stage, seeds: list[int], state: TrainState | None = None, **kwargs: Any
) -> tuple[Any, TrainState]:
    """The loop against a prior: the scenes, and the state at the end."""
    starts = [init_ball(60, 0.5, 0.1, 0.3, generator("variational", seed)) for seed in seeds]
    state = state or begin(how, starts, seeds)
    embeddings = prior.embed(["a red bear", ""])
    cond = embeddings[:1].expand(9, -1, -1).expand(len(seeds), -1, -1, -1)
    scenes, _ = optimize(
        *(how, state, prior, cond, embeddings[1:]), seeds=seeds, name="stage1", **kwargs
    )
    return scenes, state


def loop_stage(**changes: Any) -> Stage:
    how: dict[str, Any] = {"target": "variational", "iterations": 7, "target_reuse": 2}
    return small_stage(**how | {"variational": {"learning_rate": 1e-2, "steps": 2}} | changes)


@pytest.mark.parametrize("steps", [1, 2])
def test_resuming_anywhere_gives_the_same_bits(steps: int, tiny_if: Path, tmp_path: Path) -> None:
    prior = load_prior(str(tiny_if))
    how = loop_stage(variational={"learning_rate": 1e-2, "steps": steps})

    def keep(state: TrainState) -> None:
        state.save(tmp_path / f"{state.step}", {})

    (whole,), end = run(prior, how, [3], save=keep, save_every_seconds=-1.0)
    assert end.loras is not None
    assert float(end.loras.optimizer.state[end.loras.weights[0]]["step"]) == 4 * steps
    for step in (1, 2, 5):
        state, _ = TrainState.load(tmp_path / f"{step}", how, strategy_of(how), CPU)
        (resumed,), after = run(load_prior(str(tiny_if)), how, [3], state)
        assert after.loras is not None
        assert all(torch.equal(resumed[key], whole[key]) for key in KEYS), step
        ends = (end.loras.tensors(), after.loras.tensors())
        assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0]), step


def test_objects_of_a_batch_come_out_as_they_do_alone(tiny_if: Path) -> None:
    prior, how, seeds = load_prior(str(tiny_if)), loop_stage(iterations=4), [7, 8]
    together, end = run(prior, how, seeds)
    for index, seed in enumerate(seeds):
        (alone,), after = run(prior, how, [seed])
        assert end.loras is not None and after.loras is not None
        torch.testing.assert_close(
            end.loras.weights[index], after.loras.weights[0], rtol=1e-3, atol=1e-5
        )
        for key in KEYS:
            torch.testing.assert_close(together[index][key], alone[key], rtol=1e-3, atol=1e-4)


def test_the_loop_trains_on_its_own_renders(tiny_if: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The LoRA of a run knows that run's renders better than the prior does."""
    prior = load_prior(str(tiny_if))
    last: list[Question] = []
    trained: list[tuple[Tensor, Tensor]] = []
    lora_eps = prior.lora_eps

    def watched(weights: Tensor, rank: int, x_t: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            trained.append((x_t, timesteps))
        return lora_eps(weights, rank, x_t, timesteps, cond)

    monkeypatch.setattr(prior, "lora_eps", watched)
    how = loop_stage(iterations=60, target_reuse=1)
    _, end = run(prior, how, [3], observe=lambda now: last.append(now.asked))
    monkeypatch.undo()

    noises = []  # one of each step
    for asked, (x_t, timesteps) in zip(last, trained[::2], strict=True):
        alpha, sigma = (one.reshape(-1, 1, 1, 1) for one in prior.schedule.at(timesteps))
        noises.append(((x_t - alpha * asked.x) / sigma)[timesteps > 50].flatten(1))
    flat = torch.cat(noises)
    alike = flat @ flat.T / flat.shape[1] - torch.eye(len(flat))
    assert len(flat) > 100 and float(alike.abs().max()) < 0.3

    assert end.loras is not None
    new = prior.begin_lora(4, generator(3))
    own, frozen = (loss_of(prior, lora, 4, last[-1]) for lora in (end.loras.weights[0], new))
    print(f"denoising loss: the prior {frozen:.3f}, the LoRA {own:.3f}")
    assert own < 0.98 * frozen


def test_a_lora_that_goes_wrong_is_rolled_back_and_slowed(tiny_if: Path) -> None:
    prior, how = load_prior(str(tiny_if)), loop_stage(iterations=2)
    _, state = run(prior, how, [3])
    assert state.loras is not None
    guard, good = Guard("stage1", state), state.loras.weights[0].detach().clone()
    assert all_finite(torch.zeros(1), state.learned())
    state.loras.weights[0].data[5] = float("nan")
    assert not all_finite(torch.zeros(1), state.learned())
    with pytest.warns(UserWarning, match="lora of object 0"):
        back = guard.roll_back(state, f"the step made {[*state.learned()][-1]} not finite")
    back.set_learning_rates(how)
    assert back.loras is not None and torch.equal(back.loras.weights[0], good)
    assert back.loras.optimizer.param_groups[0]["lr"] == 0.5e-2
    assert back.loras.optimizer.param_groups[0]["params"][0] is back.loras.weights[0]


@pytest.mark.parametrize(("scale", "steps"), [(4.0, 1), (1.0, 3)])
def test_evaluations_count_the_forwards_and_three_for_each_step(
    scale: float, steps: int, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior, count = load_prior(str(tiny_sd)), 0
    asking = stage(steps=steps).model_copy(update={"guidance_scale": scale})
    loras = begin_loras(asking, prior, [3, 4], "stage1")
    asked = question(prior, 4, loras.each(2))
    predict_eps, lora_eps = prior.predict_eps, prior.lora_eps

    def frozen(x_t: Tensor, *rest: Tensor) -> Tensor:
        nonlocal count
        count += len(x_t)
        return predict_eps(x_t, *rest)

    def trained(weights: Tensor, rank: int, x_t: Tensor, *rest: Tensor) -> Tensor:
        nonlocal count
        count += len(x_t) * (3 if torch.is_grad_enabled() else 1)
        return lora_eps(weights, rank, x_t, *rest)

    monkeypatch.setattr(prior, "predict_eps", frozen)
    monkeypatch.setattr(prior, "lora_eps", trained)
    denoise(asking, prior, asked)
    train(asking, prior, asked, loras, 0, [3, 4], "stage1")
    assert count == evaluations(asking) * 4


def test_the_debugger_draws_it(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd))
    loras = shaken(begin_loras(stage(), prior, [3, 4], "stage2"))
    asked = question(prior, 4, loras.each(2))
    target = denoise(stage(), prior, asked)
    render = prior.decode(asked.x).permute(0, 2, 3, 1)
    shown = pictures(stage(), prior, render[:2], asked.of([0, 1]), target[:2], many_steps=2)
    assert [*shown] == ["render", "noised", "one step", "2 steps", "variational", "difference"]
    torch.testing.assert_close(shown["variational"], prior.decode(target[:2]))
    assert float((shown["variational"] - shown["one step"]).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("variational.rank=0", r"stage1\.variational\.rank is 0.*greater than or equal to 1"),
        ("variational.rank=1.5", r"stage1\.variational\.rank is 1\.5"),
        ("variational.learning_rate=0", r"stage1\.variational\.learning_rate is 0.*than 0"),
        ("variational.steps=0", r"stage1\.variational\.steps is 0"),
        ("variational.alpha=1", r"stage1\.variational\.alpha.*rank, learning_rate, steps"),
        ("target=vsd", r"stage1\.target is 'vsd'.*variational"),
    ],
)
def test_bad_settings_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config([], [f"stage1.{override}"])


def test_openvino_is_refused_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"openvino cannot train the LoRA.*set engine to torch"):
        load_config([], ["stage1.target=variational", "stage1.engine=openvino"])
    load_config([], ["stage1.engine=openvino"])
