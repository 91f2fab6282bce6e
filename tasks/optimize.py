"""Stage 1 or 2: optimise the Gaussians against a prior and keep the result as a checkpoint."""

from stabledreamer_core.checkpoint import load_checkpoint, save_checkpoint
from stabledreamer_core.debugger import recorder
from stabledreamer_core.keys import STAGE1, STAGE2
from stabledreamer_core.stage import run_stage
from tasks.job import Job
from tasks.manifest import Manifest, cached_task, manifest
from tasks.progress import stage_progress


@cached_task(name="optimize")
def optimize(job: Job, number: int, key: str) -> Manifest:
    """Continues from the work folder of `key` if the stage was interrupted; see stage.py."""
    start = load_checkpoint(job.out / STAGE1)[0] if number == 2 else None
    work = job.out / f"stage{number}" / "work" / key[:16]
    stage = (job.config.stage1, job.config.stage2)[number - 1]
    observe = recorder(job.config.debug, stage, job.out, number, key)
    with stage_progress(job, number) as progress:
        result = run_stage(job.config, number, job.prompt, job.seed, work, start, progress, observe)
    path = (STAGE1, STAGE2)[number - 1]
    save_checkpoint(job.out / path, result.splats, {})  # run.json describes it
    return manifest(job, (path,), result.record)
