"""A suite's past runs: one line of JSON each, in history.jsonl of its folder."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stabledreamer_core.files import atomic_write
from tasks.run_record import code_version

NAME = "history.jsonl"
FAILED = {"prompt", "seed", "error"}
MEASURED = {"prompt", "seed", "metrics", "config_hash", "seconds"}

Entry = dict[str, Any]


def entry(summary: dict[str, Any]) -> Entry:
    """What is kept of a run.

    Args:
        summary: what summary.json holds (suite.py).
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code_version()["hash"],
        "assets": [
            {
                **{key: asset[key] for key in ("prompt", "seed", "metrics", "config_hash")},
                "seconds": round(sum(stage["seconds"] for stage in asset["stages"].values()), 1),
            }
            for asset in summary["assets"]
        ],
        "failures": summary["failures"],
    }


def append(out: Path, new: Entry) -> Entry | None:
    """Keep a run; returns the one before, or None if this is the first."""
    past = read(out)
    lines = "".join(json.dumps(one, allow_nan=False) + "\n" for one in [*past, new])
    with atomic_write(out / NAME) as temporary:
        temporary.write_text(lines, encoding="utf-8")
    return past[-1] if past else None


def read(out: Path) -> list[Entry]:
    """All runs, oldest first. Lines that are no run of ours are passed over."""
    try:
        lines = (out / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [one for line in lines if (one := _parsed(line))]


def _parsed(line: str) -> Entry | None:
    try:
        one = json.loads(line)
        known = {"time", "code"} <= set(one) and all(
            keys <= set(part)
            for parts, keys in (("assets", MEASURED), ("failures", FAILED))
            for part in one[parts]
        )
    except (ValueError, TypeError, KeyError):
        return None
    return one if known else None
