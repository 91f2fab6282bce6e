"""The steps of a run, each a Prefect task cached under its content key (keys.py).

    stage 1 -> checkpoint -> stage 2 -> checkpoint -> gaussians, turntable, preview
                                                   -> mesh -> evaluate -> report

What takes seconds to import (open3d, the judge) is imported by the step that needs it.
"""

import shutil
from typing import Any

from prefect import task

from stabledreamer.runtime.progress import stage_progress
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer_core.assets.turntable import write_preview, write_turntable
from stabledreamer_core.debugger.record import recorder
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.optimization.checkpoint import load_checkpoint, save_checkpoint
from stabledreamer_core.optimization.stage import run_stage
from stabledreamer_core.scene.gaussians import save_ply
from stabledreamer_core.settings.config import StageName
from tasks import run_record
from tasks.finished import find, work_folder
from tasks.job import Job
from tasks.keys import MESH, STAGE1, STEPS
from tasks.manifest import Manifest, cached_task, manifest
from tasks.report.page import write_report


@cached_task(name="optimize")
def optimize(job: Job, name: StageName, key: str) -> Manifest:
    """A stage: take what a batch finished, or go on from `key`'s work folder."""
    (path,), stage = STEPS[name].outputs, job.config.stage(name)
    observe = recorder(job.config.debug, stage, job.out, name, key)
    if finished := find(job.out, name, key):
        with atomic_write(job.out / path) as temporary:
            shutil.copyfile(finished[0], temporary)
        return manifest(job, (path,), finished[1])
    start = load_checkpoint(job.out / STAGE1)[0] if name == "stage2" else None
    with stage_progress(name, stage.iterations, job.out, job.bars) as progress:
        result = run_stage(
            *(job.config, name, job.prompt, job.seed, start),
            work_dir=work_folder(job.out, name, key),
            base=ROOT,
            cache_dir=EMBEDDINGS,
            progress=progress,
            observe=observe,
        )
    save_checkpoint(job.out / path, result.splats, {})  # run.json describes it
    return manifest(job, (path,), result.record)


@cached_task(name="checkpoint")
def checkpoint(job: Job, name: StageName, key: str) -> Manifest:
    """Read a stage's checkpoint back before anything is built on it.

    Raises:
        UserError: the stage diverged: Gaussians that are not finite, or none.
    """
    splats, _ = load_checkpoint(job.out / STEPS[name].outputs[0])
    if not all(bool(value.isfinite().all()) for value in splats.values()):
        raise UserError(
            f"{name.replace('stage', 'stage ')} diverged: some Gaussians are not finite; "
            f"lower {name}.learning_rates or try another --seed"
        )
    return manifest(job, (), {"gaussians": len(splats["means"])})


@cached_task(name="gaussians")
def gaussians(job: Job, key: str) -> Manifest:
    """Write gaussians.ply, which other viewers open."""
    save_ply(job.result(), job.out / "gaussians.ply")
    return manifest(job, ("gaussians.ply",))


@cached_task(name="turntable")
def turntable(job: Job, key: str) -> Manifest:
    """Write turntable.mp4, one full turn."""
    write_turntable(job.result(), job.config.turntable, job.out / "turntable.mp4", job.device)
    return manifest(job, ("turntable.mp4",))


@cached_task(name="preview")
def preview(job: Job, key: str) -> Manifest:
    """Write preview.png, eight views in one picture."""
    write_preview(job.result(), job.config.turntable, job.out / "preview.png", job.device)
    return manifest(job, ("preview.png",))


@cached_task(name="mesh")
def mesh(job: Job, key: str) -> Manifest:
    """Write mesh.glb, closed and coloured."""
    from stabledreamer_core.assets.mesh.extract import write_mesh

    facts = write_mesh(job.result(), job.config.mesh, job.out / MESH, job.device)
    return manifest(job, (MESH,), facts)


@cached_task(name="evaluate")
def evaluate(job: Job, key: str) -> Manifest:
    """Measure how well the asset fits its prompt; the metrics are the facts, there is no file."""
    from toybox.metrics.evaluate import evaluate as measure

    metrics = measure(job.result(), job.prompt, job.config.evaluate, job.device, job.out / MESH)
    return manifest(job, (), metrics)


@task(name="report", task_run_name="report")
def report(job: Job, steps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Write run.json and the page that shows it all.

    Never cached: it takes a moment, and run.json must name every other file. The page reads
    run.json, and run.json holds the page's hash: so it is written twice.
    """
    record = run_record.compose(job.prompt, job.seed, job.config, device_name(job), steps)
    run_record.write(job.out, record)
    write_report(job.out)
    record["files"] |= run_record.hash_files(job.out, (run_record.REPORT,))
    run_record.write(job.out, record)
    return record


def device_name(job: Job) -> str:
    """Such as "cpu (2 threads)" or "cuda (NVIDIA H200)"."""
    import torch

    if job.device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(job.device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
