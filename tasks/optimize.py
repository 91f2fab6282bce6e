"""Stage 1 or 2: optimise the Gaussians against a prior and keep the result as a checkpoint."""

import shutil

from stabledreamer.runtime.progress import stage_progress
from stabledreamer_core.debugger.record import recorder
from stabledreamer_core.files import atomic_write
from stabledreamer_core.optimization.checkpoint import load_checkpoint, save_checkpoint
from stabledreamer_core.optimization.stage import run_stage
from tasks.finished import find, work_folder
from tasks.job import Job
from tasks.keys import STAGE1, STAGE2
from tasks.manifest import Manifest, cached_task, manifest


@cached_task(name="optimize")
def optimize(job: Job, number: int, key: str) -> Manifest:
    """Takes what a batch finished, or continues what was interrupted, from `key`'s work folder."""
    path = (STAGE1, STAGE2)[number - 1]
    stage = (job.config.stage1, job.config.stage2)[number - 1]
    observe = recorder(job.config.debug, stage, job.out, number, key)
    if finished := find(job.out, number, key):
        with atomic_write(job.out / path) as temporary:
            shutil.copyfile(finished[0], temporary)
        return manifest(job, (path,), finished[1])
    start = load_checkpoint(job.out / STAGE1)[0] if number == 2 else None
    work = work_folder(job.out, number, key)
    with stage_progress(job, number) as progress:
        result = run_stage(job.config, number, job.prompt, job.seed, work, start, progress, observe)
    save_checkpoint(job.out / path, result.splats, {})  # run.json describes it
    return manifest(job, (path,), result.record)
