"""Stages 1 and 2 of several assets at once, which on a GPU costs little more than of one.

Every result is left where flows/dream.py's own task looks first (tasks/finished.py); so each asset
is made by the same flow, which finds its stages done.
"""

import hashlib
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

from prefect import task
from prefect.results import ResultStore

from flows.suite_retry import DELAYS_S, RETRIES, server_errors, worth_retrying
from stabledreamer.runtime.progress import stage_progress
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer.runtime.threads import settle_threads
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import sha256_of
from stabledreamer_core.optimization.checkpoint import load_checkpoint
from stabledreamer_core.optimization.stage import run_stages
from stabledreamer_core.settings.config import StageName
from tasks import finished, run_record
from tasks.asset_folder import lock_asset
from tasks.checks import prepare
from tasks.job import Job
from tasks.keys import STAGE1, STAGE2, Files, step_key
from tasks.steps import optimize

WORK = ".batches"  # in the suite's folder: unfinished batches
STAGES: tuple[tuple[StageName, str], ...] = (("stage1", STAGE1), ("stage2", STAGE2))


class Wanted(NamedTuple):
    """An asset of a suite."""

    prompt: str
    seed: int
    out: str  # its folder


class Lack(NamedTuple):
    """The first stage that an asset lacks."""

    name: StageName
    key: str
    start: Path | None  # stage 2's: the checkpoint of stage 1


def check_batch(settings: dict[str, Any]) -> None:
    """Raise a UserError if objects cannot share a batch under these settings."""
    params = Path(settings["params"]) if settings["params"] else None
    config = load_config(params, settings["overrides"], settings["quick"])
    for name, stage in (("stage1", config.stage1), ("stage2", config.stage2)):
        if stage.density.strategy == "default":
            raise UserError(
                f"{name}.density.strategy is default, which works on one object; "
                f"set {name}.density.strategy=relocate, or --batch 1"
            )
    if config.debug.every:
        raise UserError("debug.every records single objects; set it to 0, or --batch 1")


def batches(wanted: list[Wanted], settings: dict[str, Any], size: int) -> list[list[Wanted]]:
    """Those that lack a stage, `size` at a time; not those whose own run will tell a mistake."""
    lacking = []
    for one in wanted:
        with suppress(UserError):
            if one not in lacking and lack(_prepared(one, settings)):
                lacking.append(one)
    return [lacking[first : first + size] for first in range(0, len(lacking), size)]


@task(
    name="batch", retries=RETRIES, retry_delay_seconds=DELAYS_S, retry_condition_fn=worth_retrying
)
def optimize_batch(batch: list[tuple[str, int, str]], settings: dict[str, Any], work: str) -> None:
    """Do stages 1 and 2 of what lacks them, and leave the results for the assets' own tasks.

    Goes on where it was interrupted, if the same assets lack the same stage.

    Args:
        batch: fields of `Wanted`.
        work: folder of unfinished batches.
    """
    settle_threads()
    with server_errors(), ExitStack() as claims:
        jobs = []
        for one in batch:
            with suppress(UserError):  # its own run will tell it
                job = _prepared(Wanted(*one), settings)
                claims.enter_context(lock_asset(job.out, job.prompt, job.seed))
                jobs.append(job)
        for name, _ in STAGES:
            lacks = [(job, found) for job in jobs if (found := lack(job))]
            lacks = [(job, found) for job, found in lacks if found.name == name]
            if lacks:
                _run(lacks, name, Path(work))


def lack(job: Job) -> Lack | None:
    """What an asset lacks, by the same keys and hashes as in flows/dream.py."""
    record = run_record.read(job.out)
    if record and not run_record.unfinished(job.out, record, job.config, job.prompt, job.seed):
        return None
    start: Path | None = None
    files: Files = {}
    for name, path in STAGES:
        key = step_key(name, job.config, job.prompt, job.seed, files)
        left = finished.find(job.out, name, key)
        if left is None and not _kept(job, key):
            return Lack(name, key, start)
        start = left[0] if left else job.out / path
        files = {path: sha256_of(start)}
    return None


def _kept(job: Job, key: str) -> bool:
    """Whether Prefect knows the stage's result, and its file is as it was."""
    store = cast(ResultStore, ResultStore().update_for_task(optimize))
    return store.exists(key) and run_record.intact(job.out, store.read(key).result["files"])


def _run(lacks: list[tuple[Job, Lack]], name: StageName, work: Path) -> None:
    jobs = [job for job, _ in lacks]
    folder = (
        work / hashlib.sha256(" ".join(found.key for _, found in lacks).encode()).hexdigest()[:16]
    )
    starts = [load_checkpoint(found.start)[0] for _, found in lacks if found.start]
    config, bars = jobs[0].config, jobs[0].bars
    with stage_progress(name, config.stage(name).iterations, work.parent, bars) as progress:
        results = run_stages(
            config,
            name,
            [job.prompt for job in jobs],
            [job.seed for job in jobs],
            starts or None,
            work_dir=folder,
            base=ROOT,
            cache_dir=EMBEDDINGS,
            progress=progress,
        )
    for (job, found), result in zip(lacks, results, strict=True):
        finished.leave(job.out, name, found.key, result)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # other batches work there
        work.rmdir()


def _prepared(one: Wanted, settings: dict[str, Any]) -> Job:
    return prepare(one.prompt, one.seed, out=one.out, **settings)
