"""Processes that outlive the command that started them: known for certain, or left alone.

A process id alone proves nothing, for the system gives it to another process after ours has ended.
So each process is known by its id and its start time together, and carries a mark in its
environment, which everything that it starts inherits, in whatever session and process group.
"""

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "STABLEDREAMER_SERVED_FROM"  # the environment variable; its value is the folder of the state
CLOCK_SLACK_S = 2.0  # start times move by as much when the system's clock is set


@dataclass(frozen=True)
class Known:
    """A process that was running when this was written."""

    pid: int
    started: float  # seconds since 1970


def start(
    command: Sequence[str], mark: str, environment: Mapping[str, str], where: Path, log: Path
) -> Known:
    """Start a process in a session of its own, so that a Ctrl-C in the terminal does not reach it.

    Args:
        mark: see `marked`.
        environment: on top of our own.
        where: its working directory.
        log: takes its stdout and stderr; written anew.
    """
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment, MARK: mark},
        )
    return Known(process.pid, psutil.Process(process.pid).create_time())


def find(known: Known | None) -> psutil.Process | None:
    """The process itself, or None where it has ended, also if another one has its id now."""
    if known is None:
        return None
    try:
        process = psutil.Process(known.pid)
        same = abs(process.create_time() - known.started) <= CLOCK_SLACK_S
    except psutil.Error:
        return None
    return process if same and _lives(process) else None


def marked(mark: str) -> list[psutil.Process]:
    """All processes that carry the mark, but for this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def end(processes: Sequence[psutil.Process], patience_s: float) -> None:
    """Ask processes to end, and kill those that have not after `patience_s`.

    psutil looks at the start time again before each signal.
    """
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    left = wait(processes, patience_s)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    wait(left, 5.0)


def wait(processes: Sequence[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Wait until processes have ended; returns those that have not."""
    deadline = time.monotonic() + patience_s
    while (left := [one for one in processes if _lives(one)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def end_marked(mark: str) -> int:
    """Kill whatever carries the mark, also what is being started meanwhile; returns how many."""
    count = 0
    deadline = time.monotonic() + 10.0
    while (left := marked(mark)) and time.monotonic() < deadline:
        count += len(left)
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        wait(left, 5.0)
    return count


def _lives(process: psutil.Process) -> bool:
    """Whether it runs. One that nobody reaped, as happens in containers, has ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at this port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(preferred: int) -> int:
    """The preferred port, or where it is taken any free one."""
    if preferred < 2**16 and port_is_free(preferred):
        return preferred
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
