"""Processes that outlive the command that started them.

Each carries a mark in its environment, which everything that it starts inherits, in whatever
session and process group. So no file of process ids can be lost or name another's process.
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "STABLEDREAMER_SERVED_FROM"  # the environment variable; its value is the folder of the logs
KILL_PATIENCE_S = 10.0


def start(
    command: Sequence[str], mark: str, environment: Mapping[str, str], where: Path, log: Path
) -> int:
    """Start a process in a session of its own, so that a Ctrl-C in the terminal does not reach it.

    Args:
        mark: see `marked`.
        environment: on top of our own.
        where: its working directory.
        log: takes its stdout and stderr; written anew.

    Returns:
        Its id.
    """
    with open(log, "wb") as output:
        return subprocess.Popen(
            command,
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment, MARK: mark},
        ).pid


def marked(mark: str) -> list[psutil.Process]:
    """This user's processes that carry the mark, but for this one; zombies have none.

    The `info` of each holds `environ` and `cmdline`.
    """
    user = psutil.Process().username()  # root could read, and believe, another's mark
    return [
        process
        for process in psutil.process_iter(["username", "environ", "cmdline"])
        if process.pid != os.getpid()
        and process.info["username"] == user
        and (process.info["environ"] or {}).get(MARK) == mark
    ]


def end(living: Callable[[], Sequence[psutil.Process]], patience_s: float) -> None:
    """Ask processes to end until none lives, also those started meanwhile; then kill them.

    psutil looks at the start time again before each signal.

    Args:
        living: finds those that live.
        patience_s: seconds from asking to killing.
    """
    deadline = time.monotonic() + patience_s
    asked: set[psutil.Process] = set()
    while (left := set(living())) and time.monotonic() < deadline + KILL_PATIENCE_S:
        late = time.monotonic() > deadline
        for process in left if late else left - asked:
            with suppress(psutil.Error):
                process.kill() if late else process.terminate()
        asked |= left
        time.sleep(0.05)


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at this port."""
    return free_port(port) == port


def free_port(preferred: int) -> int:
    """The preferred port, or where it is taken, or 2**16, any free one."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            listener.bind(("127.0.0.1", preferred))
        except (OSError, OverflowError):
            listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
