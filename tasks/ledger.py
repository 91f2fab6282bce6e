"""What is done of an asset: the one place that knows, for single runs and batches alike.

Each step that is done has an entry in the asset folder's .steps.json: its content key (keys.py),
the sha256 of the files it left and its facts. An entry counts only while its key is the one that
today's settings, code and inputs give, and the files still have those bytes. A folder without
.steps.json is known by its run.json, which holds the same of a finished asset.
"""

import json
from pathlib import Path
from typing import Any, TypedDict

from stabledreamer_core.files import atomic_write, read_whole, sha256_of
from tasks import run_record
from tasks.job import Job
from tasks.keys import STEPS, Files, step_key

NAME = ".steps.json"


class Manifest(TypedDict):
    """What a step made: files of the asset folder with their sha256, and figures."""

    files: Files
    facts: dict[str, Any]


class Entry(Manifest):
    """A step that is done."""

    key: str


def find(out: Path, step: str, key: str) -> Manifest | None:
    """What the step left in `out` under this key; None where it is not done or not whole."""
    entry = _entries(out).get(step)
    if entry is None or entry["key"] != key or not _whole(out, step, entry):
        return None
    return {"files": entry["files"], "facts": entry["facts"]}


def add(out: Path, step: str, key: str, manifest: Manifest) -> None:
    """Say that the step is done, while the folder's lock is held."""
    _write(out, _entries(out) | {step: {"key": key, **manifest}})


def reopen(out: Path) -> None:
    """Remove run.json, which is there only while it is true; what it alone knows is kept."""
    _write(out, _entries(out))
    run_record.remove(out)


def lacking(job: Job) -> list[str]:
    """The steps, in their order, that are not done or whose files are not whole.

    A step that needs the output of one of these is listed as well. Last comes "report", where
    run.json or the page is missing or altered.
    """
    entries = _entries(job.out)
    files: Files = {}
    lacks: list[str] = []
    for name, step in STEPS.items():
        entry = entries.get(name)
        if (
            entry is None
            or not files.keys() >= set(step.inputs)
            or entry["key"] != step_key(name, job.config, job.prompt, job.seed, files)
            or not _whole(job.out, name, entry)
        ):
            lacks.append(name)
        else:
            files |= entry["files"]
    record = run_record.read(job.out)
    if record is None or not intact(job.out, run_record.page_of(record)):
        lacks.append("report")
    return lacks


def intact(out: Path, files: Files) -> bool:
    """Whether every file is in the folder with the bytes it was written with."""
    return all(
        (out / path).is_file() and sha256_of(out / path) == sha256 for path, sha256 in files.items()
    )


def _whole(out: Path, step: str, entry: Entry) -> bool:
    files, reads = set(entry["files"]), STEPS[step]
    named = set(reads.outputs) <= files <= {*reads.outputs, *reads.optional}
    return named and intact(out, entry["files"])


def _write(out: Path, entries: dict[str, Entry]) -> None:
    with atomic_write(out / NAME) as temporary:
        temporary.write_text(json.dumps(entries) + "\n", encoding="utf-8")


def _entries(out: Path) -> dict[str, Entry]:
    """By step; those that are not well formed are left out."""
    try:
        found = json.loads(read_whole(out / NAME, run_record.MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        found = _recorded(run_record.read(out) or {})
    if not isinstance(found, dict):
        return {}
    return {step: entry for step, entry in found.items() if step in STEPS and _well_formed(entry)}


def _recorded(record: run_record.Record) -> dict[str, Any]:
    """The entries that run.json holds."""
    files = record.get("files", {})
    facts = {**record.get("stages", {}), "mesh": record.get("mesh")}
    facts["evaluate"] = record.get("metrics")
    return {
        name: {
            "key": step.get("key"),
            "files": {path: files.get(path) for path in STEPS[name].outputs}
            | {path: files[path] for path in STEPS[name].optional if path in files},
            "facts": facts.get(name) or {},
        }
        for name, step in record.get("steps", {}).items()
        if name in STEPS
    }


def _well_formed(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"key", "files", "facts"}
        and isinstance(entry["key"], str)
        and isinstance(entry["facts"], dict)
        and isinstance(entry["files"], dict)
        and all(isinstance(sha256, str) for sha256 in entry["files"].values())
    )
