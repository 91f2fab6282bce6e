"""How a step is taken: a Prefect task of its own, unless the ledger knows what it makes.

A manifest is plain JSON: {"files": {path in the asset folder: sha256}, "facts": {...}}; tensors
stay in files.
"""

import time
from collections.abc import Callable
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State

from stabledreamer.runtime import stopping
from stabledreamer.runtime.artifacts import logger
from stabledreamer.runtime.log_lines import key_values
from stabledreamer.runtime.progress import WORDS, step_shown
from tasks import ledger
from tasks.job import Job
from tasks.keys import STEPS, step_key
from tasks.ledger import Entry, Manifest
from tasks.run_record import hash_files, jsonable

Steps = dict[str, Entry]  # by name, in the order they were done
StepTask = Task[..., Any]


def cached_task(function: Callable[[Job, str, str], Manifest]) -> StepTask:
    """A Prefect task of `function(job, step, key)`; cached where its result is handed in."""

    def run(job: Job, step: str, key: str, kept: Manifest | None) -> Manifest | State[Any]:
        return Completed(name="Cached", data=kept) if kept else function(job, step, key)

    return Task(run, name=function.__name__, description=function.__doc__, cache_policy=NO_CACHE)


def take(job: Job, steps: Steps, told: bool, step: str, task: StepTask) -> None:
    """Take one step, unless it is done and its files are still what they were.

    Args:
        steps: those taken so far; this one is added.
        told: whether Prefect hears of it; in a batched suite only of whole assets.
    """
    stopping.check()
    files = {path: sha256 for done in steps.values() for path, sha256 in done["files"].items()}
    key = step_key(step, job.config, job.prompt, job.seed, files)
    settings = {section: getattr(job.config, section) for section in STEPS[step].settings}
    logger().info("%s begins: key=%s %s", step, key[:16], key_values(settings))
    began = time.monotonic()
    kept = ledger.find(job.out, step, key)
    call = task.with_options(task_run_name=step) if told else task.fn
    with step_shown(step, job.bars):
        made = call(job, step, key, kept) if told or not kept else None
    manifest: Manifest = kept or made  # type: ignore[assignment]
    if not kept:
        ledger.add(job.out, step, key, manifest)
    steps[step] = {"key": key, **manifest}
    how = "kept" if kept else f"{time.monotonic() - began:.1f} s"
    if job.bars:
        print(f"  {step:12s} {how:9s} {WORDS.get(step, '')}".rstrip(), flush=True)
    logger().info("%s: %s %s", step, how, key_values(manifest["facts"]))


def manifest(job: Job, paths: tuple[str, ...], facts: dict[str, Any] | None = None) -> Manifest:
    """The manifest of a step that wrote `paths` in the asset folder.

    A step in which a stop got lost is not kept: a library that caught it may have done without
    something, as trimesh does without modules whose import fails.
    """
    stopping.check()
    return {"files": hash_files(job.out, paths), "facts": jsonable(facts or {})}
