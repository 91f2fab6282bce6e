"""Download what a prior is loaded from and no more: resumable, verified, with progress.

The files land in the hub client's own cache. huggingface_hub 2 begins a file that broke off anew
(its PR 4228), and a text encoder has files of 10 GB: so weights are streamed here to
`blobs/<sha256>.part`, which a later run continues, and the client finds them done.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock
from tqdm import tqdm

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.files import atomic_write, sha256_of
from stabledreamer_core.priors.hub import HubFile, fetch_commit, list_files, refusal
from stabledreamer_core.priors.layout import needed_files, read_family

TRIES = 5  # without a byte in between
PAUSE_S = 0.5  # before the second; twice as long before each after it
TIMEOUT_S = 30.0
GB = 10**9
SPARE_BYTES = 2**30  # left free on the disk
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Plan:
    """What is still to be downloaded of a prior.

    Attributes:
        source, revision, commit: the model, as asked for and as found.
        folder: its snapshot in the cache, with all descriptions already.
        weights: files of weights that are not there yet.
    """

    source: str
    revision: str | None
    commit: str
    folder: Path
    weights: tuple[HubFile, ...]

    @property
    def missing_bytes(self) -> int:
        """Bytes to download, less what an earlier run left of them."""
        return sum(file.size - _part_bytes(self.folder, file) for file in self.weights)


def plan_download(
    source: str, revision: str | None, variant: str | None, text: bool = True
) -> Plan:
    """Fetch a hub model's descriptions (some MB) and find which weights are missing.

    Args:
        text: whether the text encoders' weights are wanted.

    Raises:
        UserError: we may not have it, it is no prior, or it has no such variant.
    """
    commit = fetch_commit(source, revision)
    files = list_files(source, commit)
    folder = _place(source, commit, "model_index.json").parent
    _, family = read_family(folder)
    for name in files:
        part, _, rest = name.partition("/")
        if part in family.components and "/" not in rest:
            if name.endswith(".json") or part.startswith("tokenizer"):
                _place(source, commit, name)
    needed = needed_files(folder, variant, text)
    names = [name for name in needed if name.endswith(".safetensors")]
    for name in names:
        if name not in files:
            raise _no_such_file(source, name, variant, files)
    weights = [files[name] for name in names if not (folder / name).exists()]
    return Plan(source, revision, commit, folder, tuple(weights))


def download(plan: Plan, progress: bool = True) -> Path:
    """Download a plan's weights, verify their checksums, and return the snapshot's folder.

    Run again after an interruption, it continues within the file.

    Raises:
        UserError: the disk is too small, the connection fails, or a file arrives damaged.
    """
    check_disk([plan])
    total = sum(file.size for file in plan.weights)
    bar = tqdm(
        total=total,
        initial=total - plan.missing_bytes,
        desc=plan.source.split("/")[-1],
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        disable=None if progress and plan.weights else True,
    )
    with bar:
        for file in plan.weights:
            if file.sha256:
                _stream(plan, file, file.sha256, bar)
            _place(plan.source, plan.commit, file.name)
    if plan.revision != plan.commit:  # so that it is found again without the network
        with atomic_write(plan.folder.parents[1] / "refs" / (plan.revision or "main")) as ref:
            ref.write_text(plan.commit, encoding="utf-8")
    return plan.folder


def check_disk(plans: Sequence[Plan]) -> None:
    """Raise a UserError where the cache's disk does not hold what is missing."""
    missing = {plan.folder: plan.missing_bytes for plan in plans if plan.weights}
    if not missing:
        return
    need, cache = sum(missing.values()), plans[0].folder.parents[2]
    free = shutil.disk_usage(cache).free
    if need + SPARE_BYTES > free:
        names = ", ".join(dict.fromkeys(plan.source for plan in plans))
        raise UserError(
            f"{names}: {need / GB:.1f} GB more are needed on the disk of {cache}, which has"
            f" {free / GB:.1f} GB free; free some, or set HF_HOME to a folder on another disk"
        )


def verify(folder: Path, names: Iterable[str]) -> list[str]:
    """Read cached files again; remove those whose content is not what their checksum says.

    In the hub's cache a large file is a link to a blob that is named by its sha256.

    Returns:
        The names of the removed files.
    """
    damaged = []
    for name in names:
        blob = (folder / name).resolve()
        if blob.parent.name == "blobs" and len(blob.name) == 64 and sha256_of(blob) != blob.name:
            (folder / name).unlink()
            blob.unlink()
            damaged.append(name)
    return damaged


def _place(source: str, commit: str, name: str) -> Path:
    """Let the hub's client put a file in its cache; return the path."""
    from huggingface_hub import hf_hub_download

    try:
        with _without_bars():
            return Path(hf_hub_download(source, name, revision=commit))
    except Exception as error:  # a connection can fail in many ways
        raise _broken_off(source, commit, error) from error


def _stream(plan: Plan, file: HubFile, sha256: str, bar: "tqdm[None]") -> None:
    """Download one file of weights to its blob, from where an earlier run stopped."""
    blob, part = _blobs(plan.folder) / sha256, _part(plan.folder, file)
    model = plan.folder.parents[1]
    lock = model.parent / ".locks" / model.name / f"{sha256}.lock"  # the hub's client's own
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # of two runs one downloads and one waits
        if blob.exists():
            return
        failures = 0
        while (have := _size(part)) < file.size:
            try:
                _append(plan, file, part, have, bar)
            except (httpx.TransportError, OSError) as error:
                failures = failures + 1 if _size(part) == have else 0
                if failures >= TRIES or getattr(error, "errno", None) in FULL_DISK:
                    raise _broken_off(plan.source, plan.commit, error) from error
                time.sleep(PAUSE_S * 2**failures)
        if sha256_of(part) != sha256:
            part.unlink()
            raise UserError(
                f"{plan.source}: {file.name} arrived damaged (its checksum is not the hub's) and"
                " was removed; run the same again"
            )
        os.replace(part, blob)


def _append(plan: Plan, file: HubFile, part: Path, have: int, bar: "tqdm[None]") -> None:
    """Append to `part`, of `have` bytes, what one connection gives."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(plan.source, file.name, revision=plan.commit)
    headers = build_hf_headers() | {"Accept-Encoding": "identity", "Range": f"bytes={have}-"}
    # httpx takes the login off where it is sent on to another host.
    with httpx.stream(
        "GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT_S
    ) as answer:
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise httpx.ReadError(f"it answers {answer.status_code}", request=answer.request)
        if answer.status_code not in (200, 206):
            error = httpx.HTTPStatusError(
                f"it answers {answer.status_code}", request=answer.request, response=answer
            )
            raise refusal(plan.source, plan.commit, error)
        if answer.status_code == 200 and have:  # it begins anew
            bar.update(-have)
            have = 0
        with open(part, "r+b" if have else "wb") as out:
            out.seek(have)
            for chunk in answer.iter_raw():
                out.write(chunk)
                bar.update(len(chunk))


def _broken_off(source: str, commit: str, error: Exception) -> UserError:
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return refusal(source, commit, error)
    full = getattr(error, "errno", None) in FULL_DISK
    remedy = "free some space, or set HF_HOME to another disk" if full else "run the same again"
    return UserError(
        f"the download of {source} broke off ({first_line(error)}): {remedy}; what is there is kept"
    )


def _no_such_file(
    source: str, name: str, variant: str | None, files: dict[str, HubFile]
) -> UserError:
    part = name.split("/")[0]
    others = sorted(
        other.split("/")[1]
        for other in files
        if other.startswith(f"{part}/") and other.endswith((".safetensors", ".bin"))
    )
    wanted = f"variant {variant!r}" if variant else "no variant"
    return UserError(
        f"{source} on the hub has no {name} ({wanted} is set); {part}/ holds"
        f" {', '.join(others[:6]) or 'no weights'}: set `variant` to match (`fp16` for"
        " *.fp16.safetensors), or take a repository with safetensors"
    )


def _blobs(folder: Path) -> Path:
    return folder.parents[1] / "blobs"


def _part(folder: Path, file: HubFile) -> Path:
    return _blobs(folder) / f"{file.sha256}.part"


def _part_bytes(folder: Path, file: HubFile) -> int:
    return min(_size(_part(folder, file)), file.size) if file.sha256 else 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()
