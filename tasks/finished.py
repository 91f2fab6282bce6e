"""Stages finished ahead of their task: a suite's batch leaves each where the task looks first.

finished.safetensors has the very bytes that the stage's checkpoint will have, so the keys of later
steps follow from it. finished.json is written last; without it there is nothing.
"""

import json
from pathlib import Path
from typing import Any

from stabledreamer_core.files import atomic_write, sha256_of
from stabledreamer_core.optimization.checkpoint import save_checkpoint
from stabledreamer_core.optimization.stage import StageResult
from stabledreamer_core.settings.config import StageName
from tasks.run_record import jsonable

NAME = "finished.safetensors"
NOTE = "finished.json"


def work_folder(out: Path, name: StageName, key: str) -> Path:
    """Where a stage of the asset in `out` keeps unfinished work.

    Args:
        key: the step's (keys.py).
    """
    return out / name / "work" / key[:16]


def leave(out: Path, name: StageName, key: str, result: StageResult) -> None:
    """Keep a finished stage for its task."""
    folder = work_folder(out, name, key)
    save_checkpoint(folder / NAME, result.splats, {})
    note = {"key": key, "sha256": sha256_of(folder / NAME), "record": jsonable(result.record)}
    with atomic_write(folder / NOTE) as temporary:
        temporary.write_text(json.dumps(note) + "\n", encoding="utf-8")


def find(out: Path, name: StageName, key: str) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint and record that `leave` kept; None where they are missing or damaged."""
    folder = work_folder(out, name, key)
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        whole = note["key"] == key and sha256_of(folder / NAME) == note["sha256"]
        return (folder / NAME, dict(note["record"])) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
