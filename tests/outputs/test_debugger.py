"""The SDS debugger against a prior whose answer is known: what is shown is what was optimised."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.settings.stage import Stage
from stabledreamer_core.debugger.record import difference, is_recorded, pictures, recorder, spread
from stabledreamer_core.debugger.probe import probe
from stabledreamer_core.debugger.files import read_records
from stabledreamer_core.distillation.loss import l2_loss
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.scene.gaussians import KEYS, init_ball
from stabledreamer_core.optimization.loop import optimize
from stabledreamer_core.optimization.observe import Observation
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.scene.density import density_strategy
from stabledreamer_core.priors import load_prior
from stabledreamer_core.priors.schedule import ddpm_schedule
from stabledreamer_core.seeds import generator

CPU = torch.device("cpu")
SIZE = 16
HALF_STEP = 0.5 / 255 + 1e-6  # pictures have 8 bits


def disc() -> Tensor:
    """[3, 16, 16] in [-1, 1]: orange on black."""
    ys, xs = torch.meshgrid(torch.arange(SIZE) - 7.5, torch.arange(SIZE) - 7.5, indexing="ij")
    inside = ((ys**2 + xs**2).sqrt() < 4.5).float()
    return 2 * inside * torch.tensor([0.9, 0.4, 0.1])[:, None, None] - 1


def certain_prior(seen: list[Tensor]) -> Any:
    """A pixel prior that takes everything for the disc; keeps each x_t that it is asked about."""
    alphas_cumprod = torch.linspace(0.9999, 0.002, 1000)

    def predict_eps(x_t: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        seen.append(x_t)
        abar = alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
        return (x_t - abar.sqrt() * disc()) / (1 - abar).sqrt()

    return SimpleNamespace(
        schedule=ddpm_schedule(alphas_cumprod),
        space="pixel",
        embed=lambda prompts: torch.zeros(len(prompts), 4, 8),
        encode=lambda images: 2 * images - 1,
        decode=lambda x: ((x + 1) / 2).clamp(0, 1),
        predict_eps=predict_eps,
    )


def stage_of(**changes: Any) -> Stage:
    stage = load_config().stage1.model_dump()
    stage |= {"iterations": 12, "views": 2, "resolution": SIZE, "target_reuse": 3}
    stage |= {"guidance_scale": 1.0, "weighting": "sds", "x0_limit": "none"} | changes
    stage["regularizers"] |= {"opacity": 0.0, "position": 0.0}
    return Stage.model_validate(stage)


def settings(every: int = 1, views: int = 4, many_steps: int = 0) -> Any:
    names = {"every": every, "views": views, "many_steps": many_steps}
    return load_config(None, [f"debug.{key}={value}" for key, value in names.items()]).debug


def begin(stage: Stage) -> TrainState:
    strategy = density_strategy(stage.density, stage.iterations, [3], "stage1")
    start = init_ball(150, 0.5, 0.1, 0.3, generator("optimize"))
    return TrainState.begin(stage, [start], strategy, CPU)


def run(
    stage: Stage, prior: Any = None, state: TrainState | None = None, **options: Any
) -> tuple[Any, list[float]]:
    (splats,), losses = optimize(
        stage,
        state or begin(stage),
        prior or certain_prior([]),
        torch.zeros(1, 9, 4, 8),
        torch.zeros(1, 4, 8),
        seeds=[3],
        name="stage1",
        **options,
    )
    return splats, losses[:, 0].tolist()


def tiles(strip: Path, columns: int) -> np.ndarray:
    """[C, K, H, W, 3] in [0, 1] of a recorded strip."""
    with Image.open(strip) as picture:
        pixels = np.asarray(picture, np.float64) / 255
    rows = len(pixels) * columns // pixels.shape[1]
    return pixels.reshape(rows, SIZE, columns, SIZE, 3).transpose(0, 2, 1, 3, 4)


def as_image(x: Tensor) -> np.ndarray:
    """What a pixel prior's x looks like."""
    return ((x + 1) / 2).clamp(0, 1).movedim(-3, -1).numpy()


@pytest.mark.parametrize("weighting", ["sds", "x0"])
def test_the_difference_is_the_gradient_up_to_the_stated_factor(weighting: str) -> None:
    random = generator("difference")
    x = torch.rand(3, 3, 4, 4, generator=random).mul(0.9).requires_grad_()
    x0_hat = torch.rand(3, 3, 4, 4, generator=random) * 0.9
    weight = torch.tensor([0.2, 1.0, 3.0])
    (gradient,) = torch.autograd.grad(l2_loss(x, x0_hat, weight).sum(), x)
    shown = difference(certain_prior([]), x.detach(), x0_hat)
    torch.testing.assert_close(shown, 0.5 - gradient / (2 * weight.reshape(3, 1, 1, 1)))


def test_recorded_pictures_are_what_was_optimised(tmp_path: Path) -> None:
    asked: list[Tensor] = []
    stage = stage_of()
    record = recorder(settings(many_steps=2), stage, tmp_path, "stage1", "k")
    seen: list[tuple[Tensor, Tensor]] = []

    def observe(now: Observation) -> None:
        seen.append((now.render.clone(), asked[-1]))
        assert record
        record(now)

    _, losses = run(stage, certain_prior(asked), observe=observe)
    records = read_records(tmp_path / "debug/stage1", "step-*")
    assert [one.step for one in records] == [0, 3, 6, 9]
    for one in records:
        assert one.columns == ("render", "noised", "one step", "2 steps", "difference")
        assert one.strip is not None
        render, noised, first, second, pull = tiles(one.strip, 5).transpose(1, 0, 2, 3, 4)
        rendered, x_t = seen[one.step]
        np.testing.assert_allclose(render, rendered.numpy(), atol=HALF_STEP)
        np.testing.assert_allclose(noised, as_image(x_t), atol=HALF_STEP)
        truth = np.broadcast_to(as_image(disc()), render.shape)
        np.testing.assert_allclose(first, truth, atol=HALF_STEP)
        np.testing.assert_allclose(second, truth, atol=HALF_STEP)
        wanted = np.clip(0.5 + truth - rendered.numpy(), 0, 1)
        np.testing.assert_allclose(pull, wanted, atol=HALF_STEP)
        loss = sum(view.loss for view in one.views) / len(one.views)
        assert loss == pytest.approx(losses[one.step], rel=1e-5)
        levels = [view.timestep / 1000 for view in one.views]
        assert levels == [view.noise_level for view in one.views]


@pytest.mark.parametrize("target", ["interval", "classifier", "shifted"])
def test_a_stage_with_another_target_shows_it_in_a_column_of_its_name(
    target: str, tmp_path: Path
) -> None:
    stage = stage_of(iterations=1, target=target, guidance_scale=2.0)
    wanted: list[Tensor] = []
    record = recorder(settings(), stage, tmp_path, "stage1", "k")

    def observe(now: Observation) -> None:
        assert record and now.x0_hat is not None
        wanted.append(now.x0_hat)
        record(now)

    run(stage, observe=observe)
    (found,) = read_records(tmp_path / "debug/stage1", "step-*")
    assert found.columns == ("render", "noised", "one step", target, "difference")
    shown = tiles(tmp_path / "debug/stage1/step-000000.png", 5)[:, 3]
    assert np.abs(shown - as_image(wanted[0])).max() <= HALF_STEP


def test_a_stage_with_a_several_step_target_shows_that_one(tmp_path: Path) -> None:
    stage = stage_of(iterations=1, target="many_steps", target_steps=4)
    run(stage, observe=recorder(settings(many_steps=9), stage, tmp_path, "stage2", "k"))
    (record,) = read_records(tmp_path / "debug/stage2", "step-*")
    assert record.columns == ("render", "noised", "one step", "4 steps", "difference")


def test_recording_changes_no_bit_and_nothing_is_written_when_off(tmp_path: Path) -> None:
    plain, losses = run(stage_of())
    on = recorder(settings(many_steps=3), stage_of(), tmp_path / "on", "stage1", "k")
    watched, curve = run(stage_of(), observe=on)
    assert curve == losses and all(torch.equal(plain[key], watched[key]) for key in KEYS)
    assert recorder(settings(every=0), stage_of(), tmp_path / "off", "stage1", "k") is None
    assert not (tmp_path / "off").exists()


def test_a_resumed_run_keeps_its_records_and_ends_with_the_same(tmp_path: Path) -> None:
    stage = stage_of(target_reuse=2)
    run(stage, observe=recorder(settings(), stage, tmp_path / "whole", "stage1", "k"))

    class Killed(Exception):
        pass

    def save(state: TrainState) -> None:
        state.save(tmp_path / f"{state.step}", {})
        if state.step == 7:
            raise Killed

    folder = tmp_path / "cut/debug/stage1"
    with pytest.raises(Killed):
        observe = recorder(settings(), stage, tmp_path / "cut", "stage1", "k")
        run(stage, observe=observe, save=save, save_every_seconds=-1.0)
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert len(before) == 8  # steps 0, 2, 4 and 6
    again = recorder(settings(), stage, tmp_path / "cut", "stage1", "k")
    older, _ = TrainState.load(tmp_path / "5", stage, begin(stage).strategy, CPU)
    run(stage, state=older, observe=again)  # step 6 is done twice
    for name in ("step-000000.png", "step-000004.json"):
        assert (folder / name).stat().st_ino == before[name]
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole/debug/stage1").iterdir()}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_records_of_other_settings_are_removed_when_the_stage_starts(tmp_path: Path) -> None:
    stage = stage_of(iterations=4, target_reuse=1)
    run(stage, observe=recorder(settings(), stage, tmp_path, "stage1", "old"))
    folder = tmp_path / "debug/stage1"
    assert len(read_records(folder, "step-*", "old")) == 4
    recorder(settings(every=0), stage, tmp_path, "stage1", "old")
    assert len(read_records(folder, "step-*", "old")) == 4
    recorder(settings(every=0), stage, tmp_path, "stage1", "new")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("every", [1, 3, 7, 50])
@pytest.mark.parametrize("reuse", [1, 3, 8])
def test_one_record_in_every_stretch_and_one_of_the_end(every: int, reuse: int) -> None:
    iterations = 101
    due = [step for step in range(iterations) if is_recorded(step, every, reuse, iterations)]
    asking = list(range(0, iterations, reuse))
    assert due[0] == 0 and due[-1] == asking[-1] and set(due) <= set(asking)
    first = {step // every: step for step in reversed(asking)}
    assert set(due) == {*first.values(), asking[-1]}


def test_views_are_spread_evenly() -> None:
    assert spread(2, 4) == [0, 1]
    assert spread(8, 4) == [0, 2, 4, 6]
    assert spread(5, 1) == [0]


def test_a_record_without_both_files_whole_is_none(tmp_path: Path) -> None:
    stage = stage_of(target_reuse=1, iterations=5)
    run(stage, observe=recorder(settings(), stage, tmp_path, "stage1", "k"))
    folder = tmp_path / "debug/stage1"
    (folder / "step-000000.png").unlink()
    (folder / "step-000001.json").write_text("{")
    (folder / "step-000002.png").write_bytes(b"no picture")
    content = json.loads((folder / "step-000003.json").read_text())
    del content["views"][0]["loss"]
    (folder / "step-000003.json").write_text(json.dumps(content))
    assert [record.step for record in read_records(folder, "step-*", "k")] == [4]


def test_a_finished_scene_is_asked_about_at_each_level() -> None:
    stage = stage_of()
    splats = init_ball(50, 0.5, 0.1, 0.3, generator("optimize"))
    asked: list[Tensor] = []
    prior = certain_prior(asked)
    looks = list(probe(settings(), stage, prior, splats, "a bear", [0.2, 0.8], CPU))
    assert len(asked) == 2
    for level, (shown, views) in zip([0.2, 0.8], looks, strict=True):
        assert [view.azimuth_deg for view in views] == [0, 90, 180, 270]
        assert {view.noise_level for view in views} == {level}
        assert views[2].words == "back view"
        truth = torch.from_numpy(as_image(disc())).movedim(-1, 0).expand(4, 3, SIZE, SIZE)
        torch.testing.assert_close(shown["one step"], truth, atol=1e-5, rtol=0.0)
    near, far = (sum(view.loss for view in views) for _, views in looks)
    alpha, sigma = prior.schedule.at(torch.tensor([200, 800]))
    factor = (alpha * sigma).tolist()  # the sds weight: the images are the same
    assert near / far == pytest.approx(factor[0] / factor[1], rel=1e-4)


def test_a_latent_prior_is_shown_decoded(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd), device=CPU)
    stage = stage_of(resolution=32)
    splats = init_ball(50, 0.5, 0.1, 0.3, generator("optimize"))
    ((shown, _),) = probe(settings(views=2), stage, prior, splats, "a bear", [0.5], CPU)
    assert all(images.shape == (2, 3, 32, 32) for images in shown.values())
    x = prior.encode(shown["render"])
    with torch.no_grad():
        wanted = 0.5 + shown["one step"] - prior.decode(x)
    torch.testing.assert_close(shown["difference"], wanted.clamp(0, 1), atol=1e-4, rtol=0.0)


def test_no_gradient_is_kept() -> None:
    x = torch.zeros(1, 3, SIZE, SIZE, requires_grad=True)
    asked = Question(x, torch.zeros_like(x), torch.tensor([5]), *torch.zeros(2, 1, 4, 8))
    render = torch.zeros(1, SIZE, SIZE, 3)
    shown = pictures(stage_of(), certain_prior([]), render, asked, x.detach(), 0)
    assert not any(images.requires_grad for images in shown.values())
