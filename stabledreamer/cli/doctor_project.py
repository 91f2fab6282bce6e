"""The doctor's checks of what a dream is made with: priors, Prefect, DVC, extras."""

import importlib.util
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stabledreamer.cli.doctor_problem import Problem
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config

PREFECT = "3.8"  # as in pyproject.toml
DVC_PATIENCE_S = 60.0
PIPELINES = {
    "small benchmark (make bench)": "dvc.yaml",
    "GPU benchmark (docs/benchmark.md)": "benchmarks/gpu/dvc.yaml",
}


def priors() -> str:
    """Both priors are there, and have the bytes of their SHA256SUMS."""
    from stabledreamer_core.errors import UserError
    from stabledreamer_core.priors.identity import MANIFEST, check_manifest
    from stabledreamer_core.priors.source import find_folder

    config, without = load_config(), []
    for stage in (config.stage1, config.stage2):
        try:
            folder = find_folder(stage.prior, stage.revision, stage.variant, ROOT)
            check_manifest(folder)
        except UserError as error:
            raise Problem(str(error), "restore the bundled ones: git checkout -- priors") from error
        if not (folder / MANIFEST).is_file():
            without.append(stage.prior)
    note = f" (no {MANIFEST} in {', '.join(without)})" if without else ""
    return f"{config.stage1.prior} and {config.stage2.prior} are whole{note}"


def judge() -> str:
    """The judge, which gives the metrics of Toybox prompts, opens."""
    from stabledreamer_core.errors import UserError
    from toybox.judge import load_judge

    folder = load_config().evaluate.judge
    try:
        load_judge(folder)
    except UserError as error:
        raise Problem(str(error), "restore it: git checkout -- priors/toybox-judge") from error
    return f"{folder} opens"


def openvino() -> str:
    """It is installed if a stage asks for it."""
    config = load_config()
    asked = [n for n in ("stage1", "stage2") if getattr(config, n).engine == "openvino"]
    try:
        found = version("openvino")
    except PackageNotFoundError:
        if not asked:
            return "not installed; faster on some CPUs: pip install -e '.[openvino]'"
        raise Problem(
            f"{' and '.join(asked)} ask for the engine openvino, which is not installed",
            "pip install -e '.[openvino]', or set engine: torch",
        ) from None
    return f"{found}, used by {' and '.join(asked) or 'no stage (engine: torch)'}"


def video() -> str:
    """There is an ffmpeg for turntable.mp4."""
    import imageio_ffmpeg

    try:
        return f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}"
    except (OSError, RuntimeError) as error:
        raise Problem(
            f"there is no working ffmpeg: {error}",
            "pip install --force-reinstall imageio-ffmpeg, or unset IMAGEIO_FFMPEG_EXE",
        ) from error


def prefect() -> str:
    """Prefect is of the version that was tested, and the server it is told of answers."""
    found = version("prefect")
    if not found.startswith(f"{PREFECT}."):
        raise Problem(
            f"Prefect {found}; {PREFECT} is needed",
            "pip install -c constraints.txt prefect",
        )
    url = os.environ.get("PREFECT_API_URL")
    if url and not _answers(url):
        raise Problem(
            f"PREFECT_API_URL is {url}, and nothing answers there",
            "unset PREFECT_API_URL, or start that server",
        )
    return f"{found}, {url or 'a server of its own for each run'}; {os.environ['PREFECT_HOME']}"


def _answers(url: str) -> bool:
    from urllib.request import urlopen

    try:
        with urlopen(f"{url.rstrip('/')}/health", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def server() -> str:
    """What `stabledreamer serve` brought up is up altogether, or its port is free."""
    from stabledreamer.runtime import serving

    served = serving.look()
    if served is not None and served.down:
        raise Problem(
            f"{served.page} is half up: {', '.join(served.down)} ended",
            "start it again: stabledreamer serve",
        )
    if served is not None:
        return f"up: {served.page}"
    if not serving.port_is_free(serving.PORT):
        raise Problem(
            f"another program listens on 127.0.0.1:{serving.PORT}, where `serve` would",
            f"end that program, or stabledreamer serve --port {serving.PORT + 100}",
        )
    return f"not up; port {serving.PORT} is free for `stabledreamer serve`"


def dvc(root: Path = ROOT) -> str:
    """DVC understands the repository, where that uses it, and what the published results are of."""
    if not (root / ".dvc").is_dir():
        return "not used here"
    if importlib.util.find_spec("dvc") is None:
        raise Problem("the repository uses DVC, which is not installed", "pip install dvc")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "status", "--json"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=DVC_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        raise Problem(
            f"dvc status took more than {DVC_PATIENCE_S:.0f} s",
            "see whether another dvc command holds its lock: ls .dvc/tmp",
        ) from None
    if done.returncode != 0:
        said = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        raise Problem(f"dvc status fails: {said[:200]}", "dvc doctor; git status .dvc dvc.lock")
    changed, edited = json.loads(done.stdout), _edited(root)
    told = [
        f"{name} {_results_of(changed, file, root, edited)}" for name, file in PIPELINES.items()
    ]
    renews = "; dvc repro makes them anew" if any(" of commit " in one for one in told) else ""
    return f"{version('dvc')}; published results: {'; '.join(told)}{renews}"


def _results_of(changed: dict[str, list[Any]], pipeline: str, root: Path, edited: set[str]) -> str:
    """What code and settings a pipeline's lock file is of: information, not a problem.

    Args:
        changed: what `dvc status` says of each stage.
        edited: files that differ from the last commit.
    """
    changes = [
        change
        for stage, found in changed.items()
        for change in found
        if (stage.rpartition(":")[0] or "dvc.yaml") == pipeline
    ]
    if not changes:
        return "up to date"
    states: dict[str, Any] = {}
    for change in changes:  # "changed command" is the pipeline's own change
        states |= change.get("changed deps", {}) if isinstance(change, dict) else {pipeline: "new"}
    # What is deleted is another stage's output.
    differ = [path for path, state in states.items() if state != "deleted"]
    if not differ:
        return "of this code and these settings, not made on this machine"
    lock = str(Path(pipeline).with_suffix(".lock"))
    commits = _git(root, "log", "-1", "--format=%h", "--", lock)
    of = f"of commit {commits[0]}" if commits else "of other code or settings"
    yours = sorted(one for one in edited if _is_below(one, differ))
    if not yours:
        return of
    more = f" and {len(yours) - 1} more" if len(yours) > 1 else ""
    return f"{of}, without your changes to {yours[0]}{more}"


def _is_below(path: str, folders: list[str]) -> bool:
    """Whether the path is one of `folders`, or in one."""
    return any(f"{path}/".startswith(f"{folder}/") for folder in folders)


def _edited(root: Path) -> set[str]:
    """Files that differ from the last commit, or are in none."""
    return {
        *_git(root, "diff", "--name-only", "--no-renames", "HEAD"),
        *_git(root, "ls-files", "--others", "--exclude-standard"),
    }


def _git(root: Path, *arguments: str) -> list[str]:
    """What git says, line by line; nothing where the folder is no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "-c", "core.quotePath=false", *arguments],
            capture_output=True,
            text=True,
            timeout=DVC_PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
