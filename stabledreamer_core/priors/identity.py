"""A prior's identity, for caches' keys and run records, and its manifest of checksums."""

import hashlib
import re
from functools import cache
from pathlib import Path
from threading import Lock

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write, read_whole, sha256_of
from stabledreamer_core.priors.hub import hub_commit, snapshot_of
from stabledreamer_core.priors.layout import component_files, is_text
from stabledreamer_core.priors.source import local_folder

MANIFEST = "SHA256SUMS"
BLOB = re.compile(r"blobs/[0-9a-f]{64}")
_HASHING = Lock()  # one that waits finds what the other has read


def prior_hash(source: str, *, revision: str | None = None, base: Path | None = None) -> str:
    """Return a hex sha256 that changes whenever what the prior computes may change.

    For a local folder it is over (name, size, sha256) of its components' files, wherever it lies;
    for a hub model over its id and commit, without a download.

    Raises:
        UserError: no such folder, one that is no prior, or a hub model whose commit is neither
            given nor known locally nor to be had.
    """
    folder = local_folder(source, base)
    if folder is None:
        return _sha256(f"{source}@{hub_commit(source, revision)}")
    return folder_hash(folder)


def folder_hash(folder: Path) -> str:
    """Return `prior_hash` of a local folder."""
    return _hash_files(folder, component_files(folder))


def text_hash(folder: Path) -> str:
    """Return a hash of what a prompt's embedding depends on: the text encoders and tokenizers.

    In the hub's cache it is over the model's id and commit, and no file need be there.
    """
    found = snapshot_of(folder)
    return _sha256("@".join(found)) if found else _hash_files(folder, _text_files(folder))


def text_content_hash(folder: Path) -> str | None:
    """Return `text_hash` as of any folder; None where the text encoder's weights are not there."""
    names = _text_files(folder)
    whole = any(name.endswith(".safetensors") for name in names)
    return _hash_files(folder, names) if whole else None


def _text_files(folder: Path) -> list[str]:
    return [name for name in component_files(folder) if is_text(name) or "/" not in name]


def _hash_files(folder: Path, names: list[str]) -> str:
    lines = []
    for name in names:
        path = folder / name
        lines.append(f"{name}\t{path.stat().st_size}\t{file_hash(path)}\n")
    return _sha256("".join(lines))


def file_hash(path: Path) -> str:
    """Return a file's hex sha256; read it once a process, again if its size or times changed.

    A U-Net of 9 GB takes minutes from a slow disk, and a stage asks for its hash five times. In
    the hub's cache it is not read at all: a large file is a link to a blob named by its sha256,
    which was verified when it came (`stabledreamer priors fetch` verifies it again).
    """
    resolved = path.resolve()
    if path.is_symlink() and BLOB.fullmatch(f"{resolved.parent.name}/{resolved.name}"):
        return resolved.name
    return _hash_of(resolved)


def _hash_of(path: Path) -> str:
    status = path.stat()
    with _HASHING:
        return _read_hash(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@cache
def _read_hash(path: Path, *_: int) -> str:
    return sha256_of(path)


def write_manifest(folder: Path) -> Path:
    """Write SHA256SUMS of every file below `folder`, as `sha256sum -c` reads it."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST and not path.name.startswith(".")
    )
    manifest = folder / MANIFEST
    with atomic_write(manifest) as temporary:
        lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names]
        temporary.write_text("".join(lines), encoding="utf-8")
    return manifest


def check_manifest(folder: Path) -> None:
    """Compare the components' files with the folder's own SHA256SUMS, if it has one.

    Raises:
        UserError: a file's content differs from what its manifest says.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    expected: dict[str, str] = {}
    try:
        lines = read_whole(manifest, 2**20).decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"this prior is damaged: cannot read {manifest} ({error})") from None
    for line in lines:
        digest, _, name = line.partition("  ")
        expected[name] = digest
    for name in component_files(folder):
        if name in expected and _hash_of((folder / name).resolve()) != expected[name]:
            raise UserError(
                f"this prior is damaged: {folder / name} differs from {manifest}; restore the"
                " file, or remove the manifest if you changed it on purpose"
            )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
