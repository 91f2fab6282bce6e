"""The stage loop on a GPU: nothing waits, less memory does, and a CPU goes on where it stopped."""

import warnings
from pathlib import Path

import pytest
import torch

from stabledreamer_core.optimization.loop import optimize
from stabledreamer_core.optimization.stage import run_stages
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.priors import load_prior
from stabledreamer_core.scene.density import density_strategy
from stabledreamer_core.scene.gaussians import KEYS, init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import Stage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
WAITS = "called a synchronizing CUDA operation"


def small(prior: Path, side: int, **changes: object) -> Stage:
    few = {"prior": str(prior), "resolution": side, "views": 2, "view_words": "four"}
    stage = Stage(iterations=24, target_reuse=2).model_dump() | few | changes
    stage["density"] |= {"every": 8, "start": 0.0, "stop": 1.0}
    return Stage.model_validate(stage)


def begin(stage: Stage, device: str) -> TrainState:
    ball = init_ball(300, 0.5, 0.1, 0.3, generator("gpu loop"))
    strategy = density_strategy(stage.density, stage.iterations, [3], "stage1")
    return TrainState.begin(stage, [ball], strategy, torch.device(device))


def run(stage: Stage, state: TrainState, upto: int | None = None) -> list[float]:
    """Run the loop, on the state's device, to step `upto`; the losses."""
    prior = load_prior(stage.prior, device=state.device)
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    embeddings = cond[None].expand(1, 4, -1, -1)
    until = stage if upto is None else stage.model_copy(update={"iterations": upto})
    _, losses = optimize(until, state, prior, embeddings, uncond, seeds=[3], name="stage1")
    return losses[:, 0].tolist()


@pytest.mark.parametrize("kind", ["tiny_if", "tiny_sd"])
def test_no_step_waits_for_the_gpu(kind: str, request: pytest.FixtureRequest) -> None:
    side = {"tiny_if": 16, "tiny_sd": 32}[kind]
    # Relocation looks at the Gaussians, and every tenth step whether numbers are finite.
    stage = small(request.getfixturevalue(kind), side, iterations=9, density={"strategy": "none"})
    run(stage, begin(stage, "cuda"))  # what loads and captures may wait
    state = begin(stage, "cuda")
    prior = load_prior(stage.prior, device="cuda")
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    embeddings = cond[None].expand(1, 4, -1, -1)
    waited: list[int] = []

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def observe(now: object) -> None:
            step = now.step  # type: ignore[attr-defined]
            torch.cuda.set_sync_debug_mode("warn" if 3 <= step < 7 else "default")
            waited.append(sum(WAITS in str(warning.message) for warning in caught))

        optimize(
            *(stage, state, prior, embeddings, uncond),
            seeds=[3],
            name="stage1",
            observe=observe,
        )
    assert len(waited) == 9 and waited[7] == 0
    with pytest.warns(UserWarning, match=WAITS):  # that a wait would have been seen
        torch.cuda.set_sync_debug_mode("warn")
        float(embeddings.sum())
    torch.cuda.set_sync_debug_mode("default")


EVERY = dict.fromkeys(["scale", "anisotropy", "depth_smoothness", "saturation", "leakage"], 0.1)


@pytest.mark.parametrize("regularizers", [{}, EVERY], ids=["default", "every"])
@pytest.mark.parametrize(("kind", "side"), [("tiny_if", 16), ("tiny_sd", 32)])
def test_graphs_change_nothing(
    kind: str, side: int, regularizers: dict[str, float], request: pytest.FixtureRequest
) -> None:
    stage = small(request.getfixturevalue(kind), side, regularizers=regularizers).model_dump()
    curves = []
    for how in ("none", "graphs"):
        settings = {"device": "cuda", "acceleration": how, "stage1": stage}
        record = run_stages(Config.model_validate(settings), "stage1", ["a bear"], [0])[0].record
        curves.append(torch.tensor(record["losses"]))
    assert curves[0].unique().numel() == 24
    torch.testing.assert_close(curves[1], curves[0], rtol=2e-2, atol=1e-3)


def test_a_cpu_goes_on_where_a_gpu_stopped_and_back(tiny_if: Path, tmp_path: Path) -> None:
    stage = small(tiny_if, 16)
    state = begin(stage, "cuda")
    losses = run(stage, state, upto=10)
    for index, (device, upto) in enumerate([("cpu", 17), ("cuda", 24)]):
        state.save(tmp_path / f"{index}", {})
        strategy = density_strategy(stage.density, stage.iterations, [3], "stage1")
        path = tmp_path / f"{index}"
        again, _ = TrainState.load(path, stage, strategy, torch.device(device))
        assert again.device.type == device and again.step == state.step
        for key in KEYS:
            assert torch.equal(again.params[key].cpu(), state.params[key].cpu())
            for name, value in state.optimizers[key].state[state.params[key]].items():
                other = again.optimizers[key].state[again.params[key]][name]
                assert torch.equal(other.cpu(), value.cpu()), (key, name)
        losses += run(stage, again, upto=upto)
        state = again
    assert len(losses) == 24 and all(loss == loss for loss in losses)


def test_a_batch_is_cut_where_memory_is_capped(tiny_if: Path) -> None:
    stage = small(tiny_if, 16, iterations=3, supersampling=8)
    config = Config.model_validate({"device": "cuda", "stage1": stage.model_dump()})
    prompts, seeds = ["a bear"] * 16, list(range(16))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    whole = run_stages(config, "stage1", prompts, seeds)
    need = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction((held + 0.6 * (need - held)) / total)
        with pytest.warns(UserWarning, match="out of GPU memory"):
            capped = run_stages(config, "stage1", prompts, seeds)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(capped) == 16
    for one, other in zip(capped, whole, strict=True):
        # Adam turns the rounding of a tiny gradient into a whole step: of few, that hardly count.
        off = (one.splats["colors"] - other.splats["colors"]).abs()
        assert (off > 0.1).float().mean() < 1e-3 and off.mean() < 1e-2
