"""docs/studio.md: server and worker on PostgreSQL, and the containers' settings."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from stabledreamer.runtime.root import ROOT

PREFECT = Path(sys.executable).with_name("prefect")
AUTH = "stabledreamer:for-tests-alone"


def postgres_bin() -> Path | None:
    """Where PostgreSQL's own programs are: on PATH, or where Debian puts them."""
    found = shutil.which("initdb")
    places = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a database server that lives as long as the test."""
    programs = postgres_bin()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder, port, user = Path(tempfile.mkdtemp(prefix="postgres-")), free_port(), None
    if os.geteuid() == 0:  # PostgreSQL refuses root
        user = "postgres"
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)

    def call(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        with (folder / "log").open("ab") as log:
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=log, stderr=log)

    call("initdb", "--auth=trust", "--username=prefect", "--no-sync")
    call("pg_ctl", "-w", "-o", f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}", "start")
    yield f"127.0.0.1:{port}/postgres"
    call("pg_ctl", "-w", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@contextmanager
def running(*command: object, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([str(word) for word in command], env=env, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.slow
def test_a_deployment_runs_on_a_worker_with_postgresql(database, params, tmp_path):
    port, out = free_port(), tmp_path / "asset"
    common = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
    common |= {"PREFECT_HOME": str(tmp_path / "home"), "DO_NOT_TRACK": "1"}
    common |= {"PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml"), "NO_COLOR": "1"}
    url = f"postgresql+asyncpg://prefect@{database}"
    server = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url, "PREFECT_SERVER_API_AUTH_STRING": AUTH}
    api = f"http://127.0.0.1:{port}/api"
    client = common | {"PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": AUTH}
    pool = ("stabledreamer", "--type", "process")

    def prefect(*arguments: object) -> None:
        command = [str(PREFECT), *map(str, arguments)]
        subprocess.run(command, env=client, cwd=ROOT, check=True, timeout=300)

    with running(
        PREFECT, "server", "start", "--host", "127.0.0.1", "--port", port, env=common | server
    ):
        wait_until_healthy(api)
        assert httpx.post(f"{api}/flow_runs/count", json={}).status_code == 401
        prefect("work-pool", "create", *pool, "--overwrite")
        with running(PREFECT, "worker", "start", "--pool", *pool, "--limit", 1, env=client):
            prefect("--no-prompt", "deploy", "--all")
            asked = {"prompt": "a red bear", "params": params, "out": out}
            words = [word for pair in asked.items() for word in ("-p", "=".join(map(str, pair)))]
            prefect("deployment", "run", "dream/local", *words, "--watch")
        name, _, password = AUTH.partition(":")
        done = httpx.post(f"{api}/flow_runs/filter", json={}, auth=(name, password), timeout=60)
        states = [run["state"]["type"] for run in done.json()]
        assert set(states) == {"COMPLETED", "SCHEDULED"}  # the nightly's are to come
    assert (out / "run.json").exists() and not (tmp_path / "home" / "prefect.db").exists()


def wait_until_healthy(api: str) -> None:
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{api}/health").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError("the server did not start")


def test_the_containers_are_given_settings_that_prefect_has():
    from prefect.settings.legacy import _get_settings_fields
    from prefect.settings.models.root import Settings

    known = _get_settings_fields(Settings)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    given = [
        name
        for service in compose["services"].values()
        for name in service.get("environment", {})
        if name.startswith("PREFECT_")
    ]
    assert len(given) >= 5 and all(name in known for name in given)


def test_the_containers_ports_are_this_machines_alone_and_no_password_is_written_down():
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for service in yaml.safe_load(text)["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    secrets = re.findall(r"(?:PASSWORD|AUTH_STRING): (\S+)", text)
    assert secrets and all("${" in secret and ":?}" in secret for secret in secrets)
