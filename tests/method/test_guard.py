"""Numbers that go wrong: the loop goes back and on, or stops and says what it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.loop import optimize
from stabledreamer_core.optimization.resume import load_newest, save_newest
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.scene.gaussians import KEYS, init_ball
from stabledreamer_core.seeds import generator
from tests.method.test_optimize import CPU, begin, known_prior, small_stage, strategy_of


def run(prior: Any, iterations: int = 120, **changes: Any) -> Any:
    (splats,), losses = optimize_saving(
        small_stage(iterations=iterations, target_reuse=1, **changes), prior, None
    )
    return splats, losses[:, 0]


def ill_prior(wrong: set[int]) -> tuple[Any, list[int]]:
    """The known prior, whose calls of these numbers answer NaN."""
    prior, calls = known_prior((0.9, 0.2, 0.1)), [0]
    well = prior.predict_eps

    def predict_eps(x_t: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        calls[0] += 1
        return well(x_t, timesteps, embeddings) * (float("nan") if calls[0] in wrong else 1.0)

    prior.predict_eps = predict_eps
    return prior, calls


def test_one_wrong_answer_costs_the_steps_since_the_last_good_state() -> None:
    prior, calls = ill_prior({71})
    with pytest.warns(UserWarning, match=r"step 70: the prior.* going back to step 50 .* 0\.5"):
        splats, losses = run(prior)
    assert len(losses) == 120 and losses.isfinite().all()
    assert calls[0] == 120 + 21
    assert all(splats[key].isfinite().all() for key in KEYS)
    assert losses[-10:].mean() < 0.5 * losses[:10].mean()


def test_before_the_first_good_state_it_starts_again() -> None:
    prior, calls = ill_prior({3})
    with pytest.warns(UserWarning, match="back to step 0"):
        _, losses = run(prior, 12)
    assert len(losses) == 12 and calls[0] == 12 + 3


def test_what_goes_wrong_every_time_is_told_in_one_line() -> None:
    prior, _ = ill_prior(set(range(5, 1000)))
    with (
        pytest.warns(UserWarning),
        pytest.raises(UserError, match=r"stage1 .*x0_hat.* is not finite; lower stage1\."),
    ):
        run(prior, 12)


def test_steps_that_are_far_too_long_are_named() -> None:
    rates = dict.fromkeys(("means", "scales", "quats", "opacities", "colors"), (1e-3, 1e-3))
    with pytest.warns(UserWarning), pytest.raises(UserError, match="loss is not finite"):
        run(known_prior((0.5, 0.5, 0.5)), 12, learning_rates=rates | {"means": (1e37, 1e37)})


def test_a_second_fault_finds_the_good_state_untouched() -> None:
    prior, calls = ill_prior({71, 82})
    with pytest.warns(UserWarning, match="back to step 50"):
        splats, losses = run(prior)
    assert len(losses) == 120 and losses.isfinite().all()
    assert calls[0] == 120 + 21 + 11
    assert all(splats[key].isfinite().all() for key in KEYS)


@pytest.mark.parametrize("strategy", ["relocate", "default"])
def test_going_back_is_going_on_from_the_saved_state_with_smaller_steps(
    strategy: str, tmp_path: Path
) -> None:
    changes = {"strategy": strategy, "grow_grad2d": 1e-7}
    density = small_stage().density.model_copy(update=changes).model_dump()
    stage = small_stage(iterations=60, target_reuse=1, density=density)

    def save(state: TrainState) -> None:
        if state.step == 50:
            state.save(tmp_path / "50", {})

    plain, _ = optimize_saving(stage, known_prior((0.9, 0.2, 0.1)), save)
    prior, calls = ill_prior({56})
    with pytest.warns(UserWarning, match="back to step 50"):
        gone_back, _ = optimize_saving(stage, prior, None)
    assert calls[0] == 60 + 6
    state, _ = TrainState.load(tmp_path / "50", stage, strategy_of(stage), CPU)
    assert bool(state.strategy_state) == (strategy == "default")
    state.rate = 0.5
    truth, _ = optimize_saving(stage, known_prior((0.9, 0.2, 0.1)), None, state)
    assert all(torch.equal(gone_back[0][key], truth[0][key]) for key in KEYS)
    assert not torch.equal(gone_back[0]["means"], plain[0]["means"])


def test_a_fault_after_a_resume_goes_back_to_the_resumed_state(tmp_path: Path) -> None:
    stage = small_stage(iterations=120, target_reuse=1)

    def save(state: TrainState) -> None:
        save_newest(tmp_path, state, "guard", 1.0)
        if state.step == 79:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize_saving(stage, known_prior((0.9, 0.2, 0.1)), save)
    found = load_newest(tmp_path, "guard", stage, strategy_of(stage), CPU)
    assert found and found[0].step == 79
    prior, calls = ill_prior({3})
    with pytest.warns(UserWarning, match="back to step 79"):
        optimize_saving(stage, prior, None, found[0])
    assert calls[0] == 41 + 3


def optimize_saving(stage: Any, prior: Any, save: Any, state: TrainState | None = None) -> Any:
    embeddings = torch.zeros(1, 9, 4, 8)
    return optimize(
        stage,
        state or begin(stage, [init_ball(60, 0.5, 0.1, 0.3, generator("guard"))]),
        prior,
        embeddings,
        embeddings[0, :1],
        seeds=[3],
        name="stage1",
        save=save,
        save_every_seconds=-1.0,
    )
