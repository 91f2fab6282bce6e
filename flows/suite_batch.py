"""Stages 1 and 2 of several assets at once, which on a GPU costs little more than of one.

Each result is left in its asset's folder and ledger (tasks/ledger.py); so each asset is made by
the same code as alone, which finds its stages done.
"""

import hashlib
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from flows.suite_retry import retried, server_errors
from stabledreamer.runtime.progress import stage_progress
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer.runtime.threads import settle_threads
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import sha256_of
from stabledreamer_core.optimization.checkpoint import load_checkpoint
from stabledreamer_core.optimization.stage import run_stages
from stabledreamer_core.settings.stage import STAGES, StageName
from tasks import ledger
from tasks.asset_folder import lock_asset
from tasks.checks import prepare
from tasks.job import Job, Request
from tasks.keys import STAGE1, step_key
from tasks.steps import keep_stage
from toybox.judge_views import stage_classifier

WORK = ".batches"  # in the suite's folder: unfinished batches


def check_batch(request: Request) -> None:
    """Raise a UserError if objects cannot share a batch under the request's settings."""
    params = Path(request.params) if request.params else None
    config = load_config(params, list(request.overrides), request.quick, request.preset)
    for name in STAGES:
        if config.stage(name).density.strategy == "default":
            raise UserError(
                f"{name}.density.strategy is default, which works on one object; "
                f"set {name}.density.strategy=relocate, or --batch 1"
            )
    if config.debug.every:
        raise UserError("debug.every records single objects; set it to 0, or --batch 1")


def batches(requests: list[Request], size: int) -> list[list[Request]]:
    """Those that lack a stage, `size` at a time; not those whose own run will tell a mistake."""
    lacks = []
    for request in requests:
        with suppress(UserError):
            if lacked_stage(prepare(request)):
                lacks.append(request)
    return [lacks[first : first + size] for first in range(0, len(lacks), size)]


def lacked_stage(job: Job) -> StageName | None:
    """The first stage that the asset lacks."""
    lacks = ledger.lacking(job)
    return next((name for name in STAGES if name in lacks), None)


@retried(name="batch")
def optimize_batch(requests: list[Request], work: str) -> None:
    """Do stages 1 and 2 of the assets that lack them.

    Goes on where it was interrupted, if the same assets lack the same stage.

    Args:
        work: folder of unfinished batches.
    """
    settle_threads()
    with server_errors(), ExitStack() as locks:
        jobs = []
        for request in requests:
            with suppress(UserError):  # its own run will tell it
                job = prepare(request)
                locks.enter_context(lock_asset(job.out, job.prompt, job.seed))
                jobs.append(job)
        for name in STAGES:
            if lacking := [job for job in jobs if lacked_stage(job) == name]:
                _run(lacking, name, Path(work))


def _run(jobs: list[Job], name: StageName, work: Path) -> None:
    keys = [_key(job, name) for job in jobs]
    folder = work / hashlib.sha256(" ".join(keys).encode()).hexdigest()[:16]
    starts = [load_checkpoint(job.out / STAGE1)[0] for job in jobs] if name == "stage2" else None
    config = jobs[0].config
    with stage_progress(name, config.stage(name), work.parent, jobs[0].bars, figures=2) as progress:
        results = run_stages(
            config,
            name,
            [job.prompt for job in jobs],
            [job.seed for job in jobs],
            starts,
            work_dir=folder,
            base=ROOT,
            cache_dir=EMBEDDINGS,
            progress=progress,
            classify=stage_classifier(config, name),
        )
    for job, key, result in zip(jobs, keys, results, strict=True):
        ledger.reopen(job.out)
        ledger.add(job.out, name, key, keep_stage(job, name, result))
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # other batches work there
        work.rmdir()


def _key(job: Job, name: StageName) -> str:
    inputs = {STAGE1: sha256_of(job.out / STAGE1)} if name == "stage2" else {}
    return step_key(name, job.config, job.prompt, job.seed, inputs)
