"""The steps of a run, each a Prefect task cached under its content key (step.py, keys.py).

    stage 1 -> checkpoint -> stage 2 -> checkpoint -> gaussians, turntable, preview
                                                   -> mesh -> export, evaluate -> report

What takes seconds to import (open3d, the judge) is imported by the step that needs it.
"""

from pathlib import Path
from typing import Any, cast

from prefect import task

from stabledreamer.runtime import live
from stabledreamer.runtime.progress import headline, stage_progress
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer_core.assets.splats.ply import save_ply
from stabledreamer_core.assets.turntable import write_preview, write_turntable
from stabledreamer_core.debugger.record import recorder
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import load_checkpoint, save_checkpoint
from stabledreamer_core.optimization.observe import all_of
from stabledreamer_core.optimization.stage import StageResult, run_stage
from stabledreamer_core.settings.stage import StageName
from tasks import run_record
from tasks.asset_folder import slug, work_folder
from tasks.job import Job
from tasks.keys import LITE, MESH, STAGE1, STEPS, light_of
from tasks.ledger import Manifest
from tasks.report.page import write_report
from tasks.step import Steps, cached_task, manifest
from toybox.judge_views import stage_classifier


@cached_task
def optimize(job: Job, step: str, key: str) -> Manifest:
    """A stage; goes on from `key`'s work folder."""
    name = cast(StageName, step)
    stage = job.config.stage(name)
    start = load_checkpoint(job.out / STAGE1)[0] if name == "stage2" else None
    observe = all_of(
        recorder(job.config.debug, stage, job.out, name, key),
        live.watch(headline(name, stage), stage, job.config.turntable, job.out),
    )
    with stage_progress(name, stage, job.out, job.bars) as progress:
        result = run_stage(
            *(job.config, name, job.prompt, job.seed, start),
            work_dir=work_folder(job.out, name, key),
            base=ROOT,
            cache_dir=EMBEDDINGS,
            progress=progress,
            observe=observe,
            classify=stage_classifier(job.config, name),
        )
    return keep_stage(job, name, result)


def keep_stage(job: Job, name: StageName, result: StageResult) -> Manifest:
    """Write a finished stage's checkpoint; run.json will describe it."""
    (path,) = STEPS[name].outputs
    save_checkpoint(job.out / path, result.splats, {})
    return manifest(job, (path,), result.record)


@cached_task
def checkpoint(job: Job, step: str, key: str) -> Manifest:
    """Read a stage's checkpoint back before anything is built on it.

    Raises:
        UserError: the stage diverged: Gaussians that are not finite, or none.
    """
    (path,) = STEPS[step].inputs
    splats, _ = load_checkpoint(job.out / path)
    if not all(bool(value.isfinite().all()) for value in splats.values()):
        stage = Path(path).parent.name
        raise UserError(
            f"{stage.replace('stage', 'stage ')} diverged: some Gaussians are not finite; "
            f"lower {stage}.learning_rates or try another --seed"
        )
    return manifest(job, (), {"gaussians": len(splats["means"])})


@cached_task
def gaussians(job: Job, *_: str) -> Manifest:
    """Write gaussians.ply, which other viewers open."""
    save_ply(job.result(), job.out / "gaussians.ply")
    return manifest(job, ("gaussians.ply",))


@cached_task
def turntable(job: Job, *_: str) -> Manifest:
    """Write turntable.mp4, one full turn."""
    write_turntable(job.result(), job.config.turntable, job.out / "turntable.mp4", job.device)
    return manifest(job, ("turntable.mp4",))


@cached_task
def preview(job: Job, *_: str) -> Manifest:
    """Write preview.png, eight views in one picture."""
    write_preview(job.result(), job.config.turntable, job.out / "preview.png", job.device)
    return manifest(job, ("preview.png",))


@cached_task
def mesh(job: Job, *_: str) -> Manifest:
    """Write mesh.glb, closed and coloured, and the smaller asset-light.glb."""
    from stabledreamer_core.assets.see_through import told, write_asset_mesh

    files = (MESH, LITE) if job.config.mesh.lite_faces else (MESH,)
    facts = write_asset_mesh(
        job.result(),
        job.config.mesh,
        job.out / MESH,
        job.device,
        name=slug(job.prompt).replace("-", "_"),
        light=light_of(job.config),
        lite=job.out / LITE if LITE in files else None,
    )
    if job.bars and (line := told(facts, job.config.mesh.see_through)):
        print(line, flush=True)
    return manifest(job, files, facts)


@cached_task
def export(job: Job, *_: str) -> Manifest:
    """Write the further formats that the settings name."""
    formats = [name for name in job.config.export.formats if name != "ply"]  # is there already
    if not formats:
        return manifest(job, ())
    from stabledreamer_core.assets.formats import export as write

    written = write(formats, job.result(), job.out / MESH, job.out)
    return manifest(job, tuple(file for files in written.values() for file in files))


@cached_task
def evaluate(job: Job, *_: str) -> Manifest:
    """Measure how well the asset fits its prompt; the metrics are the facts, there is no file."""
    from toybox.metrics.evaluate import evaluate as measure

    metrics = measure(job.result(), job.prompt, job.config.evaluate, job.device, job.out / MESH)
    return manifest(job, (), metrics)


@task(name="report", task_run_name="report")
def report(job: Job, steps: Steps) -> dict[str, Any]:
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
