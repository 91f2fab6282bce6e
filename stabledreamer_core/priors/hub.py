"""Talk to the Hugging Face hub: which commit, which files, and in a person's words why not."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stabledreamer_core.errors import UserError, first_line

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
SNAPSHOT = re.compile(r"models--(.+)/snapshots/([0-9a-f]{40})")
REQUEST_TIMEOUT_S = 4.0
DEADLINE_S = 6.0  # name resolution has no timeout of its own
LISTING_S = 30.0


@dataclass(frozen=True)
class HubFile:
    """A file of a model on the hub."""

    name: str  # relative to the model
    size: int  # bytes
    sha256: str | None  # of large files alone


def hub_commit(source: str, revision: str | None) -> str:
    """Return the commit of a hub id and revision: as given, as cached, or as the hub says.

    Raises:
        UserError: it is neither cached nor reachable.
    """
    if revision and COMMIT.fullmatch(revision):
        return revision
    cached = cached_folder(source, revision)
    return cached.name if cached is not None else fetch_commit(source, revision)


def cached_folder(source: str, revision: str | None) -> Path | None:
    """Return the hub cache's snapshot of `source`, or None, without the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source, "model_index.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def snapshot_of(folder: Path) -> tuple[str, str] | None:
    """Return (hub id, commit) of a folder in the hub's cache, or None for any other."""
    found = SNAPSHOT.search(folder.absolute().as_posix() + "/")
    return (found[1].replace("--", "/", 1), found[2]) if found else None


def model_name(folder: Path) -> str:
    """Return what to call a prior's folder: its hub id, or its path."""
    found = snapshot_of(folder)
    return found[0] if found else str(folder)


def fetch_commit(source: str, revision: str | None) -> str:
    """Ask the hub with one short request whether we may have this model; return its commit.

    Raises:
        UserError: we may not, it does not exist, or the hub cannot be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(source, "model_index.json", revision=revision)

    def ask() -> str:
        commit = get_hf_file_metadata(url, timeout=REQUEST_TIMEOUT_S).commit_hash
        if not commit:
            raise ValueError("its answer names no commit")
        return commit

    return str(_within(DEADLINE_S, ask, source, revision))


def list_files(source: str, commit: str) -> dict[str, HubFile]:
    """List a model's files by their names, with one request.

    Raises:
        UserError: the hub does not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    def ask() -> dict[str, HubFile]:
        tree = HfApi().list_repo_tree(source, recursive=True, revision=commit)
        files = [item for item in tree if isinstance(item, RepoFile)]
        return {
            file.path: HubFile(file.path, file.size, file.lfs.sha256 if file.lfs else None)
            for file in files
        }

    files: dict[str, HubFile] = _within(LISTING_S, ask, source, commit)
    return files


def refusal(source: str, revision: str | None, error: BaseException) -> UserError:
    """Say in one line why a hub model cannot be had, and what to do."""
    from huggingface_hub import errors as hub

    page = f"https://huggingface.co/{source}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    known = isinstance(error, hub.RepositoryNotFoundError)  # of which a gated one is a kind
    if isinstance(error, hub.GatedRepoError) or (status in (401, 403) and not known):
        why = "the hub will not give it to you before you accept its licence"
        remedy = f"accept it at {page}, run `hf auth login`, and try again"
    elif isinstance(error, hub.RevisionNotFoundError):
        why = f"the hub has no revision {revision!r} of it"
        remedy = f"take one from {page}/commits/main, or leave `revision` empty for the newest"
    elif isinstance(error, hub.RemoteEntryNotFoundError):
        why = "on the hub it is no diffusers pipeline (it has no model_index.json)"
        remedy = "look for a repository in diffusers' format; `stabledreamer priors list` has some"
    elif isinstance(error, hub.RepositoryNotFoundError):
        why = "the hub knows no such model, or it is private"
        remedy = (
            "check the spelling (`stabledreamer priors list`); if it is private, run"
            " `hf auth login`"
        )
    else:
        why = f"the hub cannot be reached ({first_line(error)})"
        remedy = (
            "connect and run the same again, or copy the folder here from another machine and set"
            " `prior` to it"
        )
    partly = cached_folder(source, revision) is not None
    state = "is downloaded only in part" if partly else "is neither a folder nor cached"
    return UserError(f"the prior {source} {state}, and {why}: {remedy} (docs/real-weights.md)")


def _within(seconds: float, call: Callable[[], Any], source: str, revision: str | None) -> Any:
    """Wait at most `seconds` for `call` in a thread, which is abandoned if it hangs."""
    answer: dict[str, Any] = {"error": TimeoutError("no answer in time")}

    def run() -> None:
        try:
            answer.update(value=call(), error=None)
        except Exception as error:  # whatever the HTTP library raises is told to the user
            answer["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if answer["error"] is not None:
        raise refusal(source, revision, answer["error"]) from answer["error"]
    return answer["value"]
