"""Prefect reads its settings when it is imported, so the server's have to be there before."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from contextlib import contextmanager

import flows.server
from cli.main import main

real = flows.server.prefect_server

@contextmanager
def looked_at():
    print("imported too early" if "prefect" in sys.modules else "in time")
    with real():
        from prefect.server.services.base import RunInEphemeralServers
        print([service.__name__ for service in RunInEphemeralServers.enabled_services()])
        sys.stdout.flush()
        raise SystemExit(0)
    yield

flows.server.prefect_server = looked_at
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["dream", "suite"])
def test_what_nothing_here_needs_stays_off(tmp_path, monkeypatch, name):
    """Services that work at every message, in the one process that all workers report to."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("prompts: [a red bear]\n")
    what = {"dream": "a red bear", "suite": str(prompts)}[name]
    command = [sys.executable, "-c", SCRIPT, name, what, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-2:] == ["in time", "['Distributor']"], done.stderr
