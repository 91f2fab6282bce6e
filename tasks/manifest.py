"""How tasks are cached and what they return.

A manifest is plain JSON: {"files": {path in the asset folder: sha256}, "facts": {...}}. Prefect
keeps it under the step's content key (tasks/keys.py); tensors stay in files.
"""

from collections.abc import Callable
from typing import Any, ParamSpec

from prefect import Task

from stabledreamer.runtime import stopping
from tasks.job import Job
from tasks.run_record import hash_files, jsonable

Manifest = dict[str, Any]

Parameters = ParamSpec("Parameters")


def cached_task(
    name: str,
) -> Callable[[Callable[Parameters, Manifest]], Task[Parameters, Manifest]]:
    """A task whose results are kept, across processes, under its argument `key`."""

    def decorate(function: Callable[Parameters, Manifest]) -> Task[Parameters, Manifest]:
        return Task(
            function,
            name=name,
            cache_key_fn=lambda _, arguments: str(arguments["key"]),
            persist_result=True,
            result_serializer="json",
        )

    return decorate


def manifest(job: Job, paths: tuple[str, ...], facts: dict[str, Any] | None = None) -> Manifest:
    """The manifest of a step that wrote `paths` in the asset folder.

    A step in which a stop got lost is not kept: a library that caught it may have done without
    something, as trimesh does without modules whose import fails.
    """
    stopping.check()
    return {"files": hash_files(job.out, paths), "facts": jsonable(facts or {})}
