"""Watches one hostile input: how it ended, how long it took, and what it touched meanwhile.

Python's audit hooks see every file opened for writing, every process started and every class that
a pickle names, whoever does it, so an escape is noticed even where nothing is raised.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stabledreamer_core.errors import UserError

LIMIT_S = 10.0
MEMORY_BYTES = 2 * 2**30  # of address space, on top of what is in use
LONGEST_MESSAGE = 1500  # characters: what one line on stderr may hold

RUNS_CODE = ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn")
RUNS_CODE += ("os.fork", "os.forkpty", "socket.connect", "ctypes.dlopen")
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")
WRITES += ("os.chmod", "os.chown")

_allowed: str | None = None  # the folder that may be written; None: nobody is watched
_seen: list[str] = []


@dataclass(frozen=True)
class Outcome:
    """How an input ended."""

    kind: str  # "accepted", "refused" (a UserError) or "ESCAPE"
    detail: str
    seconds: float


class Hung(BaseException):
    """The time limit; no `except Exception` swallows it."""


def watch(call: Callable[[], object], allowed: Path) -> Outcome:
    """Run `call`, which may write below `allowed` alone, and say how it ended."""
    global _allowed
    _install()
    _seen.clear()
    kind, detail = "accepted", ""
    began = time.monotonic()
    with _limits():
        _allowed = os.path.realpath(allowed)
        try:
            call()
        except UserError as error:
            kind, detail = "refused", " ".join(str(error).split())
        except (Exception, Hung) as error:
            kind, detail = "ESCAPE", f"{type(error).__name__}: {str(error)[:200]}"
        finally:
            _allowed = None
    seconds = time.monotonic() - began
    if _seen:
        kind, detail = "ESCAPE", "; ".join(_seen[:3])
    elif kind == "refused" and not 10 <= len(detail) <= LONGEST_MESSAGE:
        kind, detail = "ESCAPE", f"a message of {len(detail)} characters: {detail[:200]}"
    return Outcome(kind, detail, seconds)


@contextmanager
def _limits() -> Iterator[None]:
    import resource  # there is none on Windows

    def ring(signum: int, frame: object) -> None:
        raise Hung(f"more than {LIMIT_S} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, ring)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY_BYTES, hard))
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


_installed = False


def _install() -> None:
    """Add the hook once: Python has no way to take one away."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if event in RUNS_CODE:
        _seen.append(f"{event} {str(arguments)[:120]}")
    elif event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            _check(event, path, -1)
    elif event in WRITES:
        two = event in ("os.rename", "os.link")
        _check(event, arguments[0], arguments[-2] if two else arguments[-1])
        if two or event == "os.symlink":
            _check(event, arguments[1], arguments[-1])


def _check(event: str, path: Any, folder: Any) -> None:
    """Note a write outside of what is allowed; `folder` is the descriptor a path may start from."""
    if isinstance(path, int):
        path = f"/proc/self/fd/{path}"
    elif isinstance(folder, int) and folder >= 0 and not os.path.isabs(path):
        path = os.path.join(os.path.realpath(f"/proc/self/fd/{folder}"), os.fsdecode(path))
    parent, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    target = os.path.join(os.path.realpath(parent), name)
    if event == "open":  # follows a link; the others act on the link itself
        target = os.path.realpath(target)
    inside = target == _allowed or target.startswith(f"{_allowed}/")
    if not inside and target != "/dev/null" and "/__pycache__" not in target:
        _seen.append(f"{event} outside: {target}")
