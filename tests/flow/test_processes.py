"""Processes that outlive their starter: found again for certain, ended with all they started."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stabledreamer.runtime import processes

MARK = f"tests-{os.getpid()}"
SLEEP = "import time; time.sleep(60)"
# Starts a process in a session of its own, as Prefect's worker does, then sleeps.
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
time.sleep(60)
"""
# Starts another one when it is asked to end, and goes on.
HYDRA = f"""
import signal, subprocess, sys, time
def another(*_):
    subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
signal.signal(signal.SIGTERM, another)
time.sleep(60)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest.fixture
def launch(tmp_path):
    def run(program: str) -> int:
        log = tmp_path / "log"
        return processes.start([sys.executable, "-c", program], MARK, {}, tmp_path, log)

    yield run
    processes.end(living, 0.0)


def living():
    return processes.marked(MARK)


def ids() -> list[int]:
    return [process.pid for process in living()]


def soon(happened, patience_s: float = 10.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened()


def test_a_running_process_is_found_and_an_ended_one_is_not(launch):
    pid = launch(SLEEP)
    assert soon(lambda: ids() == [pid])  # for a moment after its start its environment is empty
    assert living()[0].info["cmdline"] == [sys.executable, "-c", SLEEP]
    processes.end(living, 5.0)
    assert ids() == []


def test_a_process_that_nobody_reaped_has_ended():
    marked = {**os.environ, processes.MARK: MARK}
    child = subprocess.Popen([sys.executable, "-c", ""], env=marked)
    process = psutil.Process(child.pid)
    assert soon(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert ids() == []
    child.wait()


def test_what_it_started_is_found_in_another_session_after_its_death(launch):
    parent = launch(PARENT)
    assert soon(lambda: len(ids()) == 2)
    (child,) = set(ids()) - {parent}
    assert os.getsid(child) != os.getsid(parent)
    psutil.Process(parent).kill()
    assert soon(lambda: ids() == [child])
    processes.end(living, 5.0)
    assert ids() == []


def test_what_is_started_meanwhile_ends_as_well(launch):
    launch(HYDRA)
    assert soon(lambda: len(ids()) == 1)
    time.sleep(0.5)  # until it listens
    processes.end(living, 0.5)
    assert ids() == []


def test_another_mark_is_left_alone(launch):
    pid = launch(SLEEP)
    processes.end(lambda: processes.marked(MARK + "-other"), 0.0)
    assert ids() == [pid]


def test_one_that_will_not_end_is_killed(launch):
    launch(DEAF)
    time.sleep(0.5)  # until it is deaf
    began = time.monotonic()
    processes.end(living, 0.3)
    assert ids() == [] and time.monotonic() - began >= 0.3


def test_output_goes_to_the_log_and_the_environment_arrives(tmp_path):
    log = tmp_path / "log"
    program = "import os; print(os.environ['WORD'], os.getcwd())"
    command = [sys.executable, "-c", program]
    processes.start(command, MARK, {"WORD": "hello"}, tmp_path, log)
    assert soon(lambda: not ids())
    assert log.read_text().split() == ["hello", str(Path(tmp_path).resolve())]


def test_ports_in_use_are_seen():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not processes.port_is_free(port)
        other = processes.free_port(port)
        assert other != port and processes.port_is_free(other)
    assert processes.free_port(port) == port
    assert processes.free_port(2**16) < 2**16
