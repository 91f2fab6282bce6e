"""One stage of a dream: from a scene to a better one, resumable, with a record of what it cost."""

import hashlib
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stabledreamer_core.distillation.view_prompts import view_prompts
from stabledreamer_core.memory import in_smaller_parts
from stabledreamer_core.optimization.checkpoint import load_newest_state, save_state
from stabledreamer_core.optimization.loop import Observe, Progress, optimize
from stabledreamer_core.priors import load_prior, prior_hash
from stabledreamer_core.scene.gaussians import Splats, init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import ROOT, Config, Stage

EMBEDDINGS = ROOT / ".cache" / "embeddings"  # a text encoder of 11 GB is not loaded twice


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


def run_stage(
    config: Config,
    number: int,
    prompt: str,
    seed: int,
    work_dir: Path,
    start: Splats | None = None,
    progress: Callable[[Progress], None] | None = None,
    observe: Observe | None = None,
) -> StageResult:
    """Run stage 1 or 2 to its end, continuing from `work_dir` if it holds unfinished work.

    Args:
        number: 1 (starts from a grey ball) or 2 (starts from `start`).
        work_dir: for resume states; the caller removes it once the result is safe.
        progress, observe: see loop.py.

    Raises:
        UserError: a prior that cannot be had, or unfinished work of other settings.
    """
    starts = None if start is None else [start]
    (result,) = run_stages(
        config, number, [prompt], [seed], work_dir, starts, progress=progress, observe=observe
    )
    return result


def run_stages(
    config: Config,
    number: int,
    prompts: list[str],
    seeds: list[int],
    work_dir: Path,
    starts: list[Splats] | None = None,
    progress: Callable[[Progress], None] | None = None,
    observe: Observe | None = None,
) -> list[StageResult]:
    """The same for B objects in one batch, which on a GPU costs little more than one.

    Each comes out as it would alone, up to rounding (on a GPU larger batches sum in other orders).

    Args:
        prompts, seeds: [B]; starts: [B] scenes of one size, needed by stage 2.

    A batch that a GPU's memory does not hold is cut into smaller ones.
    """

    def work(size: int) -> list[StageResult]:
        results: list[StageResult] = []
        for first in range(0, len(prompts), size):
            rows = slice(first, first + size)
            folder = work_dir if size >= len(prompts) else work_dir / f"{first}-{size}"
            scenes = None if starts is None else starts[rows]
            batch = (prompts[rows], seeds[rows], folder, scenes, progress, observe)
            results += _run_batch(config, number, *batch)
        return results

    return in_smaller_parts(work, len(prompts), "objects")[0]


def _run_batch(
    config: Config,
    number: int,
    prompts: list[str],
    seeds: list[int],
    work_dir: Path,
    starts: list[Splats] | None,
    progress: Callable[[Progress], None] | None,
    observe: Observe | None,
) -> list[StageResult]:
    stage: Stage = (config.stage1, config.stage2)[number - 1]
    name = f"stage{number}"
    device = pick_device(config.device)
    if starts is None:
        starts = [initial_scene(config, seed) for seed in seeds]

    # 1. Unfinished work, if it is of these very settings.
    key = _state_key(config, stage, prompts, seeds, starts)
    found = load_newest_state(work_dir, key)
    resume, spent = None, 0.0
    if found:
        tensors, metadata, notes = found
        resume, spent = (int(metadata["step"]), tensors), float(metadata["seconds"])
        for note in notes:
            warnings.warn(note, stacklevel=2)

    # 2. The prior, and the prompts' embeddings for every direction.
    prior = load_prior(
        stage.prior,
        revision=stage.revision,
        variant=stage.variant,
        dtype=stage.dtype,
        engine=stage.engine,
        device=device,
        base=ROOT,
        cache_dir=EMBEDDINGS,
    )
    asked = [words for prompt in prompts for words in view_prompts(prompt, stage.view_words)]
    embeddings = prior.embed([*asked, ""])

    # 3. Optimise.
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    began = time.monotonic()

    def save(step: int, tensors: dict[str, torch.Tensor]) -> None:
        seconds = spent + time.monotonic() - began
        save_state(work_dir, step, tensors, {"key": key, "seconds": f"{seconds:.3f}"})

    scenes, losses = optimize(
        stage,
        starts,
        prior,
        embeddings[:-1].unflatten(0, (len(prompts), -1)),
        embeddings[-1:],
        seeds=seeds,
        name=name,
        device=device,
        resume=resume,
        save=save,
        save_every_seconds=config.checkpoint.every_seconds,
        progress=progress,
        observe=observe,
    )
    seconds = time.monotonic() - began
    shared = {
        "iterations": stage.iterations,
        "seconds": round(spent + seconds, 3),
        "iterations_per_second": round(len(losses) / max(seconds, 1e-9), 3),
        "peak_memory_bytes": _peak_memory(device),
    }
    if len(prompts) > 1:
        shared["batch"] = len(prompts)
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
    """The grey ball that stage 1 starts from."""
    ball = config.gaussians
    return init_ball(
        ball.count, ball.radius, ball.scale, ball.opacity, generator(seed, "gaussians")
    )


def _state_key(
    config: Config, stage: Stage, prompts: list[str], seeds: list[int], starts: list[Splats]
) -> str:
    """A hash of all that determines the stage's result."""
    digest = hashlib.sha256()
    described = {
        "stage": stage.model_dump(),
        "prompts": prompts,
        "seeds": seeds,
        "prior": prior_hash(stage.prior, revision=stage.revision, base=ROOT),
    }
    digest.update(json.dumps(described, sort_keys=True).encode())
    for start in starts:
        for name in sorted(start):
            digest.update(start[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's allocator, or the process's largest resident size so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
