"""run.json: what an asset was made from, by which code, at what cost, and its files' hashes.

It is there only while it is true: a run removes it before it changes a file. ledger.py tells
whether all that it names is done and whole.
"""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stabledreamer.runtime.root import ROOT
from stabledreamer_core import __version__
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write, read_whole, sha256_of
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import STAGES
from tasks.code_reach import package_hash
from tasks.keys import Files, config_hash

NAME = "run.json"
REPORT = "report.html"
MAX_BYTES = 16 * 2**20
PACKAGES = (
    "torch diffusers transformers gsplat numba numpy scipy safetensors prefect open3d-cpu trimesh"
).split()

Record = dict[str, Any]


def compose(
    prompt: str, seed: int, config: Config, device: str, steps: Mapping[str, Mapping[str, Any]]
) -> Record:
    """The record of a finished run.

    Args:
        device: what it ran on, in words.
        steps: by name, in order: {"key": content key, "files": sha256 by path, "facts": {...}}.
    """
    files: Files = {}
    for step in steps.values():
        files |= step["files"]
    return {
        "prompt": prompt,
        "seed": seed,
        "config": config.model_dump(mode="json"),
        "config_hash": config_hash(config),
        "code": code_version(),
        "packages": package_versions(),
        "device": device,
        "priors": prior_commits(config),
        "stages": {name: steps[name]["facts"] for name in ("stage1", "stage2")},
        "mesh": steps["mesh"]["facts"],
        "metrics": steps["evaluate"]["facts"],
        "files": files,
        "steps": {name: {"key": step["key"]} for name, step in steps.items()},
    }


def write(out: Path, record: Record) -> None:
    """Write run.json into the asset folder."""
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    with atomic_write(out / NAME) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove(out: Path) -> None:
    """Remove run.json, so that a folder in the making does not pass for a finished asset."""
    (out / NAME).unlink(missing_ok=True)


def read(out: Path) -> Record | None:
    """The folder's record, or None where there is none that can be read."""
    try:
        record = json.loads(read_whole(out / NAME, MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and _well_formed(record) else None


def _well_formed(record: Record) -> bool:
    """Whether what others go by is of the right kind, where it is there at all."""
    kinds = {"prompt": str, "seed": int, "metrics": dict, "stages": dict, "files": dict}
    hashes, steps = record.get("files", {}), record.get("steps", {})
    return (
        all(isinstance(record.get(name, kind()), kind) for name, kind in kinds.items())
        and all(isinstance(sha256, str) for sha256 in hashes.values())
        and isinstance(steps, dict)
        and all(isinstance(step, dict) for step in steps.values())
    )


def read_asset(out: Path) -> Record:
    """The record of a finished asset.

    Raises:
        UserError: `out` is not one.
    """
    if not out.is_dir():
        raise UserError(f"{out} is not a folder; give the folder that `stabledreamer dream` made")
    record = read(out)
    if record is None or "prompt" not in record:
        raise UserError(f"{out} holds no finished asset: {NAME} is missing or damaged")
    return record


def page_of(record: Record) -> Files:
    """The report's sha256, by its name."""
    return {REPORT: record.get("files", {}).get(REPORT, "")}


def hash_files(out: Path, paths: tuple[str, ...]) -> Files:
    """Sha256 of files in the asset folder."""
    return {path: sha256_of(out / path) for path in paths}


def jsonable(value: Any) -> Any:
    """The same without NaN and infinities, which JSON does not know: they become null."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def prior_commits(config: Config) -> dict[str, str | None]:
    """The commit of each stage's prior on the hub; None for a folder."""
    from stabledreamer_core.priors.hub import hub_commit
    from stabledreamer_core.priors.source import local_folder

    commits: dict[str, str | None] = dict.fromkeys(STAGES)
    for name in STAGES:
        stage = config.stage(name)
        with suppress(UserError):  # moved away since it was used
            if local_folder(stage.prior, ROOT) is None:
                commits[name] = hub_commit(stage.prior, stage.revision)
    return commits


@cache
def code_version() -> dict[str, str | bool | None]:
    """Version, content hash of the method's code, and the git commit where there is one."""
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "version": __version__,
        "hash": package_hash("stabledreamer_core"),
        "commit": _git("rev-parse", "HEAD"),
        "modified": None if status is None else bool(status),
    }


@cache
def package_versions() -> dict[str, str | None]:
    """Versions of Python and the packages that results may depend on."""
    versions: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def _git(*arguments: str) -> str | None:
    if not (ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
