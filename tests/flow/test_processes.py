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
from stabledreamer.runtime.processes import Known

MARK = f"tests-{os.getpid()}"
SLEEP = "import time; time.sleep(60)"
# Starts a process in a session of its own, as Prefect's worker does, then sleeps.
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
time.sleep(60)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest.fixture
def launch(tmp_path):
    def run(program: str) -> Known:
        log = tmp_path / "log"
        return processes.start([sys.executable, "-c", program], MARK, {}, tmp_path, log)

    yield run
    processes.end_marked(MARK)


def soon(happened, patience_s: float = 10.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened()


def test_a_running_process_is_found_and_an_ended_one_is_not(launch):
    known = launch(SLEEP)
    process = processes.find(known)
    assert process is not None and process.pid == known.pid
    processes.end([process], 5.0)
    assert processes.find(known) is None


def test_a_process_with_a_recycled_id_is_not_ours(launch):
    known = launch(SLEEP)
    earlier = Known(known.pid, known.started - 60.0)
    assert processes.find(earlier) is None
    assert processes.find(Known(os.getpid(), 0.0)) is None
    assert processes.find(None) is None


def test_a_process_that_nobody_reaped_has_ended():
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    known = Known(child.pid, process.create_time())
    assert soon(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert processes.find(known) is None
    assert processes.wait([process], 0.0) == []
    child.wait()


def test_what_it_started_is_found_in_another_session_after_its_death(launch):
    parent = launch(PARENT)
    assert soon(lambda: len(processes.marked(MARK)) == 2)
    (child,) = [one for one in processes.marked(MARK) if one.pid != parent.pid]
    assert os.getsid(child.pid) != os.getsid(parent.pid)
    psutil.Process(parent.pid).kill()
    assert soon(lambda: processes.find(parent) is None)
    assert [one.pid for one in processes.marked(MARK)] == [child.pid]
    assert processes.end_marked(MARK) == 1
    assert processes.marked(MARK) == []


def test_another_mark_is_left_alone(launch):
    known = launch(SLEEP)
    assert processes.end_marked(MARK + "-other") == 0
    assert processes.find(known) is not None


def test_one_that_will_not_end_is_killed(launch):
    known = launch(DEAF)
    process = processes.find(known)
    time.sleep(0.3)  # until it is deaf
    processes.end([process], 0.2)
    assert processes.find(known) is None


def test_output_goes_to_the_log_and_the_environment_arrives(tmp_path):
    log = tmp_path / "log"
    program = "import os; print(os.environ['WORD'], os.getcwd())"
    command = [sys.executable, "-c", program]
    known = processes.start(command, MARK, {"WORD": "hello"}, tmp_path, log)
    assert soon(lambda: processes.find(known) is None)
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
