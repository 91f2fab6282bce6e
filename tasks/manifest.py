"""How tasks are cached and what they return.

A manifest is plain JSON: {"files": {path in the asset folder: sha256}, "facts": {...}}. Prefect
keeps it under the step's content key (stabledreamer_core/keys.py); tensors stay in files.
"""

import math
from functools import partial
from typing import Any

from prefect import task

from stabledreamer_core.run_record import hash_files
from tasks.job import Job

Manifest = dict[str, Any]

cached_task = partial(
    task,
    cache_key_fn=lambda _, parameters: parameters["key"],
    persist_result=True,
    result_serializer="json",
)


def manifest(job: Job, paths: tuple[str, ...], facts: dict[str, Any] | None = None) -> Manifest:
    """The manifest of a step that wrote `paths` in the asset folder."""
    return {"files": hash_files(job.out, paths), "facts": _jsonable(facts or {})}


def _jsonable(value: Any) -> Any:
    """The same without NaN and infinities, which JSON does not know: they become null."""
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
