"""One stage of a dream: from a scene to a better one, resumable, with a record of what it cost."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gsplat.strategy.base import Strategy

from stabledreamer_core.distillation.debias import stage_prompts
from stabledreamer_core.distillation.view_weights import Classify
from stabledreamer_core.errors import UserError
from stabledreamer_core.memory import halve_on_oom, peak_memory_bytes
from stabledreamer_core.optimization.loop import optimize
from stabledreamer_core.optimization.observe import Observe, Progress
from stabledreamer_core.optimization.resume import load_newest, save_newest
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.priors import load_prior, prior_hash
from stabledreamer_core.priors.acceleration import Acceleration
from stabledreamer_core.scene.density import density_strategy
from stabledreamer_core.scene.gaussians import Splats, init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import Stage, StageName

COMPILE_FROM = 4000  # steps of a stage


@dataclass(frozen=True)
class StageResult:
    """A finished stage."""

    splats: Splats  # on the CPU
    record: dict[str, Any]  # iterations, seconds, iterations_per_second, peak_memory_bytes, ...


def pick_device(setting: str) -> torch.device:
    """The device that `device: auto | cpu | cuda` names here."""
    if setting == "auto":
        setting = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(setting)


def pick_acceleration(setting: Acceleration, iterations: int) -> Acceleration:
    """How networks are sped up on a GPU: compiling pays where it saves more than its minute."""
    worth_it = setting == "auto" and iterations >= COMPILE_FROM
    return "compile" if worth_it else setting


def run_stage(
    config: Config,
    name: StageName,
    prompt: str,
    seed: int,
    start: Splats | None = None,
    *,
    work_dir: Path | None = None,
    base: Path | None = None,
    cache_dir: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    observe: Observe | None = None,
    strategy: Strategy | None = None,
    classify: Classify | None = None,
) -> StageResult:
    """Run a stage to its end, going on from `work_dir` if it holds unfinished work.

    Args:
        start: the scene to begin with; without one, a grey ball (`initial_scene`).
        work_dir: for resume states; the caller removes it once the result is safe. None keeps none.
        base: folder that a prior named by a relative path is looked for in, after the current one.
        cache_dir: where text embeddings are kept between runs.
        progress, observe: see observe.py.
        strategy: density control by gsplat's interface, in place of what the settings name.
        classify: images [N, 3, H, W] in [0, 1], on the stage's device, to the probabilities [N, 8]
            of the arcs about azimuth 0, 45, ...; for `view_bias.reweight` (view_weights.py).

    Raises:
        UserError: a prior that cannot be had, unfinished work of other settings, or no classifier
            where the settings ask one.
    """
    (result,) = run_stages(
        *(config, name, [prompt], [seed], None if start is None else [start]),
        work_dir=work_dir,
        base=base,
        cache_dir=cache_dir,
        progress=progress,
        observe=observe,
        strategy=strategy,
        classify=classify,
    )
    return result


def run_stages(
    config: Config,
    name: StageName,
    prompts: list[str],
    seeds: list[int],
    starts: list[Splats] | None = None,
    *,
    work_dir: Path | None = None,
    base: Path | None = None,
    cache_dir: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    observe: Observe | None = None,
    strategy: Strategy | None = None,
    classify: Classify | None = None,
) -> list[StageResult]:
    """The same for B objects in one batch, which on a GPU costs little more than one.

    Each comes out as it would alone, up to rounding (on a GPU larger batches sum in other orders).
    A batch that a GPU's memory does not hold is cut into smaller ones.

    Args:
        prompts, seeds: [B]; starts: [B] scenes of one size.

    Raises:
        ValueError: the numbers of prompts, seeds and starts differ, or the density control changes
            the number of Gaussians and there is more than one object.
    """
    stage = config.stage(name)
    if not len(prompts) == len(seeds) == len(seeds if starts is None else starts):
        raise ValueError(f"{len(prompts)} prompts, {len(seeds)} seeds, {len(starts or [])} starts")

    if stage.view_bias.reweight != "none" and classify is None:
        raise UserError(
            f"{name}.view_bias.reweight asks what views show: give run_stage `classify`, or set it"
            " to none"
        )

    def work(size: int) -> list[StageResult]:
        results: list[StageResult] = []
        for first in range(0, len(prompts), size):
            rows = slice(first, first + size)
            folder = work_dir
            if work_dir is not None and size < len(prompts):
                folder = work_dir / f"{first}-{size}"
            batch = Batch(
                stage,
                name,
                prompts[rows],
                seeds[rows],
                [initial_scene(config, seed) for seed in seeds[rows]]
                if starts is None
                else starts[rows],
                strategy or density_strategy(stage.density, stage.iterations, seeds[rows], name),
                pick_device(config.device),
                pick_acceleration(config.acceleration, stage.iterations),
                classify,
            )
            save_every = config.checkpoint.every_seconds
            results += _run_batch(batch, folder, save_every, base, cache_dir, progress, observe)
        return results

    return halve_on_oom(work, len(prompts), "objects")[0]


@dataclass(frozen=True)
class Batch:
    """What is optimised together."""

    stage: Stage
    name: StageName
    prompts: list[str]
    seeds: list[int]
    starts: list[Splats]
    strategy: Strategy
    device: torch.device
    acceleration: Acceleration
    classify: Classify | None


def _run_batch(
    batch: Batch,
    work_dir: Path | None,
    save_every_seconds: float,
    base: Path | None,
    cache_dir: Path | None,
    progress: Callable[[Progress], None] | None,
    observe: Observe | None,
) -> list[StageResult]:
    stage, count = batch.stage, len(batch.prompts)

    # 1. Unfinished work, if it is of these very settings.
    found, key, spent = None, "", 0.0
    if work_dir is not None:
        key = _state_key(batch, base)
        found = load_newest(work_dir, key, stage, batch.strategy, batch.device)
    if found is not None:
        state, spent = found
    else:
        state = TrainState.begin(stage, batch.starts, batch.strategy, batch.device)

    # 2. The prior, and the prompts' embeddings for every direction.
    prior = load_prior(
        stage.prior,
        revision=stage.revision,
        variant=stage.variant,
        dtype=stage.dtype,
        engine=stage.engine,
        device=batch.device,
        base=base,
        cache_dir=cache_dir,
        acceleration=batch.acceleration,
        embeddings=stage.embeddings,
    )
    for side in {stage.resolution, stage.coarse_resolution or stage.resolution}:
        prior.check_size(side)
    asked = [words for prompt in batch.prompts for words in stage_prompts(stage, prompt, base)]
    negative = prior.embed([stage.negative_prompt]) if stage.target == "noise_free" else None
    embeddings = prior.embed([*asked, ""])

    # 3. Optimise.
    if batch.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(batch.device)
    began = time.monotonic()

    def save(state: TrainState) -> None:
        assert work_dir is not None
        save_newest(work_dir, state, key, spent + time.monotonic() - began)

    scenes, losses = optimize(
        *(stage, state, prior, embeddings[:-1].unflatten(0, (count, -1)), embeddings[-1:]),
        seeds=batch.seeds,
        name=batch.name,
        negative=negative,
        graphs=batch.device.type == "cuda" and batch.acceleration != "none",
        save=None if work_dir is None else save,
        save_every_seconds=save_every_seconds,
        progress=progress,
        observe=observe,
        classify=batch.classify,
    )
    return _results(batch, scenes, losses, spent, time.monotonic() - began)


def _results(
    batch: Batch, scenes: list[Splats], losses: torch.Tensor, spent: float, seconds: float
) -> list[StageResult]:
    """Each object's scene and record; losses: [steps run here, B]."""
    shared = {
        "iterations": batch.stage.iterations,
        "seconds": round(spent + seconds, 3),
        "iterations_per_second": round(len(losses) / max(seconds, 1e-9), 3),
        "peak_memory_bytes": peak_memory_bytes(batch.device),
    }
    if len(batch.prompts) > 1:
        shared["batch"] = len(batch.prompts)
    results = []
    for scene, curve in zip(scenes, losses.T.tolist(), strict=True):
        record = shared | {
            "gaussians": len(scene["means"]),
            "final_loss": curve[-1] if curve else None,
            "losses": [round(loss, 6) for loss in curve[:: max(1, len(curve) // 100)]],
        }
        splats = {name: value.cpu() for name, value in scene.items()}
        results.append(StageResult(splats, record))
    return results


def initial_scene(config: Config, seed: int) -> Splats:
    """The grey ball that a dream starts from."""
    ball = config.gaussians
    return init_ball(
        ball.count, ball.radius, ball.scale, ball.opacity, generator(seed, "gaussians")
    )


def _state_key(batch: Batch, base: Path | None) -> str:
    """A hash of all that determines the stage's result."""
    stage = batch.stage
    digest = hashlib.sha256()
    described = {
        "stage": stage.model_dump(),
        "strategy": repr(batch.strategy),
        "prompts": batch.prompts,
        "seeds": batch.seeds,
        "prior": prior_hash(stage.prior, revision=stage.revision, base=base),
    }
    digest.update(json.dumps(described, sort_keys=True).encode())
    for start in batch.starts:
        for name in sorted(start):
            digest.update(start[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
