"""Server and worker brought up and down; what stands in the way is told in one line."""

import inspect
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from stabledreamer.cli.main import main
from stabledreamer.runtime import serving
from stabledreamer.runtime.auth import folder
from stabledreamer.runtime.processes import free_port, marked, port_is_free
from stabledreamer.runtime.root import ROOT

PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A PREFECT_HOME of its own."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_stop_with_nothing_up_says_so(home, capsys):
    assert main(["stop"]) == 0
    assert main(["serve", "--stop"]) == 0
    assert capsys.readouterr().out == "nothing is up\n" * 2


def test_a_port_in_use_is_told(home, capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"port {port}" in error and "--port" in error
    assert marked(str(folder())) == [] and serving.look() is None


@pytest.mark.parametrize("options", [["--port", "80"], ["--port", "70000"], ["--limit", "0"]])
def test_numbers_out_of_range_are_told(home, options, capsys):
    assert main(["serve", *options]) == 2
    assert options[0] in capsys.readouterr().err


def test_a_home_that_cannot_be_written_is_told(monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_HOME", "/proc/prefect")
    assert main(["serve"]) == 2
    assert "PREFECT_HOME" in capsys.readouterr().err


def test_processes_that_have_our_ids_now_are_left_alone(home):
    """Whatever an older version, or Prefect's own `server stop`, would read of ids."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    folder().mkdir(parents=True)
    known = {role: {"pid": sleeper.pid, "started": 1.0} for role in ("server", "worker")}
    (folder() / "state.json").write_text(json.dumps({"port": 1, "processes": known}))
    (home / "server.pid").write_text(str(sleeper.pid))
    assert serving.look() is None
    assert not serving.bring_down()
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_the_deployments_give_their_flows_what_they_take():
    from flows.dream import dream
    from flows.suite import suite

    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    deployed = {deployment["name"]: deployment for deployment in content["deployments"]}
    assert {name: one["entrypoint"] for name, one in deployed.items()} == {
        "local": "flows/dream.py:dream",
        "nightly": "flows/suite.py:suite",
    }
    assert (dream.name, suite.name) == ("dream", "suite")
    for name, flow in (("local", dream), ("nightly", suite)):
        takes = inspect.signature(flow.fn).parameters
        gives = deployed[name]["parameters"]
        assert set(gives) <= set(takes)
        needed = {key for key, one in takes.items() if one.default is inspect.Parameter.empty}
        assert needed - set(gives) == ({"prompt"} if name == "local" else set())
        assert deployed[name]["work_pool"]["name"] == serving.POOL
    assert {"prompt", "seed", "quick", "overrides"} <= set(inspect.signature(dream.fn).parameters)
    assert (ROOT / deployed["nightly"]["parameters"]["file"]).is_file()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_serve_a_deployment_run_a_lost_worker_and_stop(params, tmp_path):
    home, out = tmp_path / "home", tmp_path / "asset"
    port = free_port(2**16)
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "OMP_NUM_THREADS": "1",
    }

    def call(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        with suppress(FileNotFoundError):  # before the first `serve` made it
            kept = (home / "serve" / "auth_string").read_text()
            environment["PREFECT_API_AUTH_STRING"] = kept.strip()
        return subprocess.run(
            [PROGRAMS / program, *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    def dream(prompt: str) -> subprocess.CompletedProcess[str]:
        given = {"prompt": prompt, "params": str(params), "out": str(out)}
        options = [f"--param={name}={value}" for name, value in given.items()]
        overrides = '--param=overrides=["stage1.iterations=3"]'
        return call("prefect", "deployment", "run", "dream/local", *options, overrides, "--watch")

    try:
        # 1. Up, at a port of our choice; a second time says so, and another port is refused.
        up = call("stabledreamer", "serve", "--port", str(port))
        assert up.returncode == 0, up.stdout + up.stderr
        again = call("stabledreamer", "serve")
        assert again.returncode == 0 and again.stdout.startswith("already up")
        assert call("stabledreamer", "serve", "--port", str(port + 7)).returncode == 2

        # 2. A run makes an asset, and a mistake fails it.
        done = dream("a red bear")
        assert done.returncode == 0, done.stdout + done.stderr
        record = json.loads((out / "run.json").read_text())
        assert (record["prompt"], record["config"]["stage1"]["iterations"]) == ("a red bear", 3)
        assert dream("?!").returncode == 1

        # 3. What was killed is started again, and nothing else is.
        before = ids(home)
        os.kill(before["worker"], 9)
        mended = call("stabledreamer", "serve")
        assert mended.returncode == 0 and not mended.stdout.startswith("already up")
        assert ids(home)["server"] == before["server"]
        assert ids(home)["worker"] != before["worker"]
    finally:
        stopped = call("stabledreamer", "stop")

    # 4. Down, and no process is left.
    assert stopped.stdout == "stopped\n", stopped.stdout + stopped.stderr
    assert marked(str(home / "serve")) == []
    assert port_is_free(port)
    assert call("stabledreamer", "stop").stdout == "nothing is up\n"


def ids(home: Path) -> dict[str, int]:
    """Of the server's and the worker's process, by their command lines."""
    found = {" ".join(process.cmdline()): process.pid for process in marked(str(home / "serve"))}
    words = {"server": " uvicorn ", "worker": " worker start "}
    return {
        role: next(pid for line, pid in found.items() if word in line)
        for role, word in words.items()
    }
