"""Files that are either whole or absent: atomic writes and content hashes."""

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stabledreamer_core.errors import UserError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and move it to `path` on success, in one step.

    The temporary file keeps `path`'s ending, by which some writers choose a format, and has the
    mode of any new file under the user's umask. On an exception it is removed and `path` is left
    alone.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
        open(temporary, "xb").close()
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_whole(path: Path, max_bytes: int) -> bytes:
    """Read an ordinary file; refuse devices and pipes, which may have no end.

    Raises:
        OSError: it is missing, unreadable, not an ordinary file, or larger than `max_bytes`.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a file")
    if status.st_size > max_bytes:
        raise OSError(f"{path} has {status.st_size} bytes; at most {max_bytes} are read")
    return Path(path).read_bytes()


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
