"""The stage loop against a prior whose answer is known, and resuming bit for bit."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gsplat.strategy import DefaultStrategy, MCMCStrategy
from gsplat.strategy.base import Strategy
from torch import Tensor

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.optimization.loop import optimize
from stabledreamer_core.optimization.observe import Observation
from stabledreamer_core.optimization.stage import run_stages
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.priors.schedule import ddpm_schedule
from stabledreamer_core.scene.density import density_strategy
from stabledreamer_core.scene.gaussians import KEYS, Splats, init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.stage import Stage

CPU = torch.device("cpu")


def known_prior(color: tuple[float, float, float]) -> Any:
    """A pixel prior that is certain: every image it denoises is a disc of one colour on black.

    Its eps is the exact posterior mean's for a single clean image, so x0_hat is that image.
    """
    alphas_cumprod = torch.linspace(0.9999, 0.002, 1000)
    ys, xs = torch.meshgrid(torch.arange(16) - 7.5, torch.arange(16) - 7.5, indexing="ij")
    disc = ((ys**2 + xs**2).sqrt() < 4.5).float()
    clean = 2 * disc * torch.tensor(color)[:, None, None] - 1

    def predict_eps(x_t: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        abar = alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
        image = torch.nn.functional.adaptive_avg_pool2d(clean, x_t.shape[-1])
        return (x_t - abar.sqrt() * image) / (1 - abar).sqrt()

    return SimpleNamespace(
        schedule=ddpm_schedule(alphas_cumprod),
        encode=lambda images: 2 * images - 1,
        predict_eps=predict_eps,
    )


def small_stage(**changes: Any) -> Stage:
    stage = load_config().stage1.model_dump()
    stage |= {"iterations": 12, "views": 2, "resolution": 16, "background": "black"} | changes
    stage["density"] |= {"every": 4, "start": 0.0, "stop": 1.0}
    return Stage.model_validate(stage)


def strategy_of(stage: Stage, seeds: Sequence[int] = (3,)) -> Strategy:
    """The density control that the stage names."""
    return density_strategy(stage.density, stage.iterations, list(seeds), "stage1")


def begin(stage: Stage, starts: list[Splats], seeds: Sequence[int] = (3,)) -> TrainState:
    return TrainState.begin(stage, starts, strategy_of(stage, seeds), CPU)


def run(
    stage: Stage,
    color: tuple[float, float, float] = (0.9, 0.2, 0.1),
    state: TrainState | None = None,
    seed: int = 3,
    **kwargs: Any,
) -> Any:
    start = init_ball(150, 0.5, 0.1, 0.3, generator("optimize"))
    embeddings = torch.zeros(1, 9, 4, 8)
    (splats,), losses = optimize(
        stage,
        state or begin(stage, [start], [seed]),
        known_prior(color),
        embeddings,
        embeddings[0, :1],
        seeds=[seed],
        name="stage1",
        **kwargs,
    )
    return splats, losses[:, 0].tolist()


def test_gaussians_become_what_the_prior_is_certain_of() -> None:
    stage = small_stage(iterations=150)
    splats, losses = run(stage)
    assert len(losses) == 150
    assert sum(losses[-10:]) < 0.15 * sum(losses[:10])
    opaque = splats["opacities"].sigmoid() > 0.5
    colors = splats["colors"].sigmoid()[opaque].mean(0)
    torch.testing.assert_close(colors, torch.tensor([0.9, 0.2, 0.1]), atol=0.12, rtol=0.0)


@pytest.mark.parametrize(
    ("strategy", "reuse", "coarse", "kept"),
    [
        *(("relocate", 1, 0, 1), ("relocate", 5, 0, 1), ("relocate", 5, 8, 1)),
        *(("relocate", 2, 0, 3), ("relocate", 2, 8, 3), ("default", 1, 0, 1)),
    ],
)
def test_resuming_anywhere_gives_the_same_bits(
    strategy: str, reuse: int, coarse: int, kept: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stage = small_stage(target_reuse=reuse, coarse_resolution=coarse, targets_kept=kept)
    density = stage.density.model_copy(update={"strategy": strategy, "grow_grad2d": 1e-7})
    stage = stage.model_copy(update={"density": density})
    folder = tmp_path_factory.mktemp("states")

    def keep(state: TrainState) -> None:
        state.save(folder / f"{state.step}", {})

    whole, _ = run(stage, save=keep, save_every_seconds=-1.0)
    assert {path.name for path in folder.iterdir()} == {str(step) for step in range(1, 12)}
    for step in (1, 4, 7, 11):
        state, _ = TrainState.load(folder / f"{step}", stage, strategy_of(stage), CPU)
        assert state.step == step
        resumed, losses = run(stage, state=state)
        assert len(losses) == 12 - step
        assert all(torch.equal(resumed[key], whole[key]) for key in KEYS), step


@pytest.mark.parametrize(("reuse", "kept"), [(1, 4), (3, 1), (3, 4), (4, 100)])
def test_kept_targets_come_back_until_newer_ones_take_their_place(reuse: int, kept: int) -> None:
    seen: list[Observation] = []
    stage = small_stage(iterations=60, target_reuse=reuse, targets_kept=kept)
    run(stage, observe=seen.append)

    pictures = [step.target.x0_hat for step in seen]
    fresh = [step.asked is not None for step in seen]
    assert fresh == [step % reuse == 0 for step in range(60)]
    born: list[Any] = []
    ages = set()
    for picture, new in zip(pictures, fresh, strict=True):
        if new:
            born.append(picture)
        age = next(age for age, one in enumerate(reversed(born)) if one is picture)
        assert age < max(1, min(kept, len(born) / 2.0 + 0.5)), "an old one came back"
        ages.add(age)
    assert 0 in ages
    assert reuse == 1 or kept == 1 or len(ages) > 2, "old targets never come back"


def test_nothing_is_kept_where_every_step_asks_the_prior() -> None:
    states: list[TrainState] = []
    run(small_stage(target_reuse=1, targets_kept=9), save=states.append, save_every_seconds=-1.0)
    assert states and not any(state.targets for state in states)


def test_same_seed_same_bits_other_seed_other_bits() -> None:
    stage = small_stage(iterations=3)
    first, second = run(stage)[0], run(stage)[0]
    assert all(torch.equal(first[key], second[key]) for key in KEYS)
    other, _ = run(stage, seed=4)
    assert not torch.equal(first["means"], other["means"])


def test_each_view_is_asked_for_with_its_own_words() -> None:
    stage = small_stage(iterations=6, views=4, guidance_scale=1.0, target_reuse=1)
    asked: list[Tensor] = []
    prior = known_prior((0.5, 0.5, 0.5))
    plain = prior.predict_eps
    prior.predict_eps = lambda x, t, e: (asked.append(e[:, 0, 0]), plain(x, t, e))[1]
    seen: list[Observation] = []
    words = torch.arange(9.0).reshape(9, 1, 1).expand(9, 4, 8)
    start: Splats = init_ball(50, 0.5, 0.1, 0.3, generator("optimize"))
    optimize(
        stage,
        begin(stage, [start], [0]),
        prior,
        words[None],
        words[:1],
        seeds=[0],
        name="stage1",
        observe=seen.append,
    )
    for embeddings, step in zip(asked, seen, strict=True):
        azimuth, elevation = step.target.views.azimuth_deg, step.target.views.elevation_deg
        expected = ((azimuth + 22.5) // 45) % 8
        expected[elevation >= 60] = 8
        assert torch.equal(embeddings, expected)


def test_an_empty_stage_returns_its_start() -> None:
    splats, losses = run(small_stage(iterations=0))
    start = init_ball(150, 0.5, 0.1, 0.3, generator("optimize"))
    assert losses == [] and all(torch.equal(splats[key], start[key]) for key in KEYS)


def test_the_first_half_can_be_coarse() -> None:
    seen: list[tuple[int, ...]] = []

    def observe(now: Observation) -> None:
        seen.append(tuple(now.render.shape[1:3]))

    run(small_stage(coarse_resolution=8, target_reuse=1), observe=observe)
    assert seen == [(8, 8)] * 6 + [(16, 16)] * 6


def test_objects_of_a_batch_come_out_as_they_do_alone() -> None:
    stage = small_stage(iterations=9)
    starts = [init_ball(120, 0.5, 0.1, 0.1, generator("batch", index)) for index in range(3)]
    for start in starts:
        start["opacities"][:30] = -9.0  # dead, so that some are relocated
    embeddings = torch.zeros(3, 9, 4, 8)
    prior = known_prior((0.2, 0.6, 0.9))
    seeds = [7, 8, 9]
    together, losses = optimize(
        *(stage, begin(stage, starts, seeds), prior, embeddings, embeddings[0, :1]),
        seeds=seeds,
        name="stage1",
    )
    assert losses.shape == (9, 3)
    for index, seed in enumerate(seeds):
        state = begin(stage, [starts[index]], [seed])
        alone, curve = optimize(
            *(stage, state, prior, embeddings[:1], embeddings[0, :1]), seeds=[seed], name="stage1"
        )
        torch.testing.assert_close(losses[:, index], curve[:, 0], rtol=1e-2, atol=0.0)
        for key in KEYS:
            torch.testing.assert_close(together[index][key], alone[0][key], rtol=1e-3, atol=1e-4)


def test_growth_is_for_one_object_at_a_time() -> None:
    stage = small_stage()
    stage = stage.model_copy(
        update={"density": stage.density.model_copy(update={"strategy": "default"})}
    )
    starts = [init_ball(20, 0.5, 0.1, 0.3, generator("batch"))] * 2
    with pytest.raises(ValueError, match="one at a time"):
        begin(stage, starts, [0, 1])


def test_each_prompt_has_its_seed_and_its_start() -> None:
    start = init_ball(20, 0.5, 0.1, 0.3, generator("batch"))
    with pytest.raises(ValueError, match="2 prompts, 1 seeds"):
        run_stages(load_config(), "stage1", ["a bear", "a car"], [0])
    with pytest.raises(ValueError, match="2 seeds, 1 starts"):
        run_stages(load_config(), "stage2", ["a bear", "a car"], [0, 1], [start])


def test_gsplats_own_strategy_takes_the_place_of_ours() -> None:
    stage, start = small_stage(), init_ball(150, 0.5, 0.1, 0.3, generator("optimize"))
    ends = []
    for _ in range(2):  # the second finds torch's own random numbers elsewhere
        strategy = DefaultStrategy(refine_start_iter=2, refine_every=4, grow_grad2d=1e-7)
        ends.append(run(stage, state=TrainState.begin(stage, [start], strategy, CPU))[0])
        torch.rand(1)
    assert len(ends[0]["means"]) > 150
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in KEYS)


def test_gsplats_mcmc_moves_the_means_by_their_learning_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # gsplat has its covariances on CUDA alone, and beside them this reference.
    from gsplat.cuda._torch_impl import _quat_scale_to_covar_preci

    monkeypatch.setattr("gsplat.strategy.ops.quat_scale_to_covar_preci", _quat_scale_to_covar_preci)
    moved = []
    for rate in (1e-3, 2e-3):
        rates = small_stage().learning_rates.model_dump() | {"means": (rate, rate)}
        stage = small_stage(learning_rates=rates)
        start = init_ball(150, 0.5, 0.1, 0.003, generator("optimize"))  # thin: these are moved
        state = TrainState.begin(stage, [start], MCMCStrategy(), CPU)
        state.set_learning_rates(stage)
        state.after_step({}, seed=5)
        moved.append(state.params["means"].detach() - start["means"])
    assert moved[0].abs().max() > 1e-4
    torch.testing.assert_close(moved[1], 2 * moved[0], rtol=1e-3, atol=1e-6)


def test_without_anisotropy_gaussians_stay_balls() -> None:
    density = {"start_count": 200}
    stage = small_stage(iterations=9, anisotropic=False)
    stage = stage.model_copy(update={"density": stage.density.model_copy(update=density)})
    splats, losses = run(stage)
    scales = splats["scales"]
    assert len(scales) == 200 and losses[-1] < losses[0]
    torch.testing.assert_close(scales, scales[:, :1].expand_as(scales))
    assert scales.std() > 0.01
    free, _ = run(stage.model_copy(update={"anisotropic": True}))
    assert (free["scales"].amax(1) - free["scales"].amin(1)).max() > 0.1


def test_supersampled_renders_are_the_means_of_larger_ones() -> None:
    seen: dict[int, list[Tensor]] = {}
    for factor in (1, 3):
        steps: list[Observation] = []
        run(small_stage(iterations=1, supersampling=factor), observe=steps.append)
        seen[factor] = [step.render for step in steps]
        sizes = {step.target.views.resolution for step in steps}
        assert sizes == {16 * factor}
    plain, averaged = seen[1][0], seen[3][0]
    assert plain.shape == averaged.shape
    # The same picture but for the rasteriser's blur, which is a share of a smaller pixel.
    assert 0.0 < (plain - averaged).norm() / plain.norm() < 0.1


@pytest.mark.parametrize(
    "how",
    [
        {"noise": "object", "noise_fresh": 0.25},
        {"noise": "inverted", "inversion": {"steps": 2, "guidance_scale": 0.0}},
        {"noise": "object", "target": "many_steps", "target_steps": 2},
        {"target": "many_steps", "target_steps": 2},
    ],
    ids=lambda how: "-".join(str(value) for value in how.values() if isinstance(value, str)),
)
def test_every_noise_and_target_finds_the_disc_of_a_certain_prior(how: dict[str, Any]) -> None:
    """The posterior of one image is that image, however it is asked for."""
    stage = small_stage(iterations=60, guidance_scale=1.0, **how)
    _, losses = run(stage)
    assert sum(losses[-6:]) < 0.5 * sum(losses[:6])
