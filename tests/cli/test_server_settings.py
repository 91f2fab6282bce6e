"""Prefect reads its settings when it is imported, so the server's have to be there before."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc
import socket
import sys
from contextlib import contextmanager

import stabledreamer.runtime.server
from stabledreamer.cli.main import main

real = stabledreamer.runtime.server.prefect_server

@contextmanager
def looked_at():
    print("imported too early" if "prefect" in sys.modules else "in time")
    with real():
        from prefect.server.services.base import Service
        print([type(one).__name__ for one in gc.get_objects() if isinstance(one, Service)])
        from prefect.client.orchestration import get_client
        from prefect.settings import get_current_settings
        settings = get_current_settings()
        print(settings.flows.heartbeat_frequency)
        client = get_client(sync_client=True)
        client.hello()
        port = int(settings.api.url.split(":")[2].split("/")[0])
        ours = [one for one in gc.get_objects() if isinstance(one, socket.socket)]
        ours = [one for one in ours if one.fileno() >= 0 and one.getsockname()[1:2] == (port,)]
        listens = (socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        answering = [one for one in ours if not one.getsockopt(*listens)]
        print({bool(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) for one in answering})
        sys.stdout.flush()
        raise SystemExit(0)
    yield

stabledreamer.runtime.server.prefect_server = looked_at
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["dream", pytest.param("suite", marks=pytest.mark.slow)])
def test_what_nothing_here_needs_stays_off(tmp_path, monkeypatch, name):
    """Services that work at every message, in the one process that all workers report to."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("prompts: [a red bear]\n")
    what = {"dream": "a red bear", "suite": str(prompts)}[name]
    command = [sys.executable, "-c", SCRIPT, name, what, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    imported, services, heartbeat, at_once = done.stdout.splitlines()[-4:]
    assert (imported, services) == ("in time", "['Distributor']"), done.stderr
    assert heartbeat == "None"  # a run's end would wait for the thread that sends them
    assert at_once == "{True}"  # else every answer comes 40 ms late
