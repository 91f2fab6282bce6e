"""Server, worker or run killed in the middle: brought up again, the same command ends the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.robustness.kills import differences, fingerprint, resume_state
from stabledreamer.runtime.processes import free_port, marked
from stabledreamer.runtime.root import ROOT
from stabledreamer_core.errors import UserError

PROGRAMS = Path(sys.executable).parent
PROMPT = "a red bear"
OVERRIDES = ["stage1.iterations=250", "stage2.iterations=150"]
PORT = free_port(2**16)
UP = ("serve", "--port", str(PORT), "--limit", "2")
ROLES = ("server", "worker", "run", "everything")
RUN_GOES_ON = ("server", "worker")

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A PREFECT_HOME of its own."""
    return tmp_path_factory.mktemp("served") / "home"


@pytest.fixture(scope="module")
def call(home) -> Iterator[Call]:
    """Runs a program against a server and a worker that are up."""
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
        "OMP_NUM_THREADS": "1",  # the bits depend on their number
    }

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAMS / program, *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    try:
        up = run("stabledreamer", *UP)
        assert up.returncode == 0, up.stdout + up.stderr
        kept = (home / "serve" / "auth_string").read_text()
        environment["PREFECT_API_AUTH_STRING"] = kept.strip()
        yield run
    finally:
        run("stabledreamer", "stop")
    assert marked(str(home / "serve")) == []


@pytest.fixture(scope="module")
def undisturbed(params, tmp_path_factory) -> Callable[[int], Path]:
    """A seed's asset, made by the plain command, which shares nothing with the server."""

    def make(seed: int) -> Path:
        folder = tmp_path_factory.mktemp("undisturbed")
        settings = [part for override in OVERRIDES for part in ("--set", override)]
        environment = {**os.environ, "PREFECT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [PROGRAMS / "stabledreamer", "dream", PROMPT, "--seed", str(seed), *settings]
            + ["--params", str(params), "--out", str(folder / "asset")],
            env=environment, check=True, capture_output=True, timeout=600,
        )  # fmt: skip
        return folder / "asset"

    return make


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", ROLES)
def test_killed_and_brought_up_again_it_ends_the_same(
    role, call, home, params, undisturbed, tmp_path
):
    seed, out = ROLES.index(role), tmp_path / "asset"
    given = {"prompt": PROMPT, "seed": seed, "params": str(params), "out": str(out)}
    options = [f"--param={name}={value}" for name, value in given.items()]
    command = ["deployment", "run", "dream/local", *options]
    command.append(f"--param=overrides={json.dumps(OVERRIDES)}")

    # 1. Started, and killed in the middle of stage 1.
    begun = call("prefect", *command)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    until(lambda: reached(out) > 20)
    victims = processes(home, role)
    assert victims
    for process in victims:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=10.0)

    # 2. Up again; the same run again, which waits for the first one if that goes on.
    up = call("stabledreamer", *UP)
    assert up.returncode == 0, up.stdout + up.stderr
    done = call("prefect", *command, "--watch")
    assert done.returncode == 0, done.stdout + done.stderr

    # 3. The asset is what it would have been. A stage's losses are those of its last process: of
    # the whole stage only where that was not killed.
    alone = undisturbed(seed)
    assert differences(fingerprint(alone), fingerprint(out)) == []
    assert (losses(out) == losses(alone)) == (role in RUN_GOES_ON)


def losses(out: Path) -> list[float]:
    """Of stage 1, as run.json has them."""
    record = json.loads((out / "run.json").read_text())
    return list(record["stages"]["stage1"]["losses"])


def processes(home: Path, role: str) -> list[psutil.Process]:
    """Of a role: of server or worker the process itself, of a run all that it started."""
    everything = marked(str(home / "serve"))
    words = {"server": " uvicorn ", "worker": " worker start "}
    known = {
        name: [process for process in everything if word in " ".join(process.cmdline())]
        for name, word in words.items()
    }
    if role == "everything":
        return everything
    if role == "run":
        return [one for one in everything if one not in known["server"] + known["worker"]]
    return known[role]


def reached(out: Path) -> int:
    """The step of stage 1's newest resume state; -1 if that was replaced while it was read."""
    try:
        return resume_state(out, "stage1")[0]
    except UserError:
        return -1


def until(happened: Callable[[], bool], patience_s: float = 240.0) -> None:
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
