"""Find a prior: a local folder, or a snapshot of a hub model.

Everything after `find_folder` sees a local folder.
"""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.priors.layout import (
    check_folder,
    needed_files,
    read_family,
)

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
REQUEST_TIMEOUT_S = 4.0
DEADLINE_S = 6.0  # name resolution has no timeout of its own


def find_folder(
    source: str, revision: str | None, variant: str | None, base: Path | None = None
) -> Path:
    """Return the checked local folder of a prior; download a hub model that is not cached.

    Args:
        source: a folder (relative ones: from the current folder, then from `base`) or a hub id.
        revision: of a hub id: a commit, tag or branch; ignored for a folder.
        variant: infix of the weights' names, such as "fp16", or None.
        base: where a relative folder is looked for after the current one; None: nowhere else.

    Raises:
        UserError: no such folder, a folder that is damaged or incomplete, or a hub model that is
            neither cached nor reachable.
    """
    folder = local_folder(source, base)
    if folder is not None:
        check_folder(folder, variant)
        return folder
    cached = _cached_folder(source, revision)
    if cached is not None:
        if all((cached / name).exists() for name in needed_files(cached, variant)):
            check_folder(cached, variant)
            return cached
    commit = _fetch_commit(source, revision)
    folder = _download(source, commit, variant)
    check_folder(folder, variant)
    return folder


def local_folder(source: str, base: Path | None = None) -> Path | None:
    """Return the folder that `source` names, or None where it must be a hub id.

    Raises:
        UserError: `source` can only be a folder, and there is none.
    """
    try:
        path = Path(source).expanduser()
        path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # no such user; a name without end
        raise UserError(f"no prior at {source[:80]!r}: {first_line(error)}") from None
    bases = [Path.cwd(), *([base] if base else [])]
    candidates = [path] if path.is_absolute() else [folder / path for folder in bases]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    # "priors/mine" has a hub id's form; a folder "priors" says what was meant.
    is_local = any(candidate.parent.is_dir() for candidate in candidates)
    if is_local or not HUB_ID.fullmatch(source):
        looked = " and ".join(str(candidate) for candidate in dict.fromkeys(candidates))
        raise UserError(f"no prior at {source!r}: looked for the folder {looked}")
    return None


def hub_commit(source: str, revision: str | None) -> str:
    """Return the commit of a hub id and revision: as given, as cached, or as the hub says.

    Raises:
        UserError: it is neither cached nor reachable.
    """
    if revision and COMMIT.fullmatch(revision):
        return revision
    cached = _cached_folder(source, revision)
    return cached.name if cached is not None else _fetch_commit(source, revision)


def _cached_folder(source: str, revision: str | None) -> Path | None:
    """Return the hub cache's snapshot of `source`, or None, without the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source, "model_index.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _fetch_commit(source: str, revision: str | None) -> str:
    """Ask the hub with one short request whether we may have this model; return its commit."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(source, "model_index.json", revision=revision)
    answer: dict[str, Any] = {"error": TimeoutError("no answer in time")}

    def ask() -> None:
        try:
            commit = get_hf_file_metadata(url, timeout=REQUEST_TIMEOUT_S).commit_hash
            answer.update(commit=commit, error=ValueError("its answer names no commit"))
        except Exception as error:  # whatever the HTTP library raises is told to the user
            answer["error"] = error

    _within(DEADLINE_S, ask)
    if answer.get("commit"):
        return str(answer["commit"])
    error = answer["error"]
    raise UserError(_how_to_get(source, revision, _reason(error, revision))) from error


def _reason(error: Exception, revision: str | None) -> str:
    """Say in a user's words what kept us from a hub model."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):  # before its base class, RepositoryNotFoundError
        return "the hub will not give it to you before you accept its licence"
    if isinstance(error, hub.RevisionNotFoundError):
        return f"the hub has no revision {revision!r} of it"
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return "on the hub it is no diffusers pipeline (it has no model_index.json)"
    if isinstance(error, hub.RepositoryNotFoundError):
        return "the hub knows no such model, or it is private"
    return f"the hub cannot be reached ({first_line(error)})"


def _how_to_get(source: str, revision: str | None, reason: str) -> str:
    """Say in one line why a hub model is missing, and how to get it."""
    pin = f" --revision {revision}" if revision else ""
    return (
        f"the prior {source} is neither a folder nor cached, and {reason}: accept its licence at"
        f" https://huggingface.co/{source}, run `hf auth login`, then `hf download {source}{pin}`"
        " (docs/real-weights.md says which files suffice), or set `prior` to a local folder"
    )


def _download(source: str, commit: str, variant: str | None) -> Path:
    """Fetch what loading needs and no more: descriptions first, then the weights they name."""
    from huggingface_hub import snapshot_download

    def fetch(patterns: list[str]) -> Path:
        try:
            return Path(snapshot_download(source, revision=commit, allow_patterns=patterns))
        except Exception as error:  # a connection can fail in many ways
            reason = f"the download failed ({first_line(error)})"
            raise UserError(_how_to_get(source, commit, reason)) from error

    _, family = read_family(fetch(["model_index.json"]))
    descriptions = [f"{component}/*.json" for component in family.components]
    folder = fetch([*descriptions, "model_index.json", "tokenizer*/*"])
    names = needed_files(folder, variant)
    weights = [name for name in names if name.endswith(".safetensors")]
    return fetch(weights)


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Wait at most `seconds` for `call` in a thread, which is abandoned if it hangs."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
