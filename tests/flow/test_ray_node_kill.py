"""A machine of a Ray cluster lost in the middle of a suite."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.robustness.kills import differences, fingerprint
from stabledreamer.runtime.processes import free_port
from stabledreamer.runtime.root import ROOT
from tests.flow.test_serving_kills import losses, reached, until

pytest.importorskip("ray")
pytest.importorskip("prefect_ray")

PROGRAMS = Path(sys.executable).parent
PROMPTS = ["a red bear", "a blue car"]
SETTINGS = ["stage1.iterations=2000", "stage2.iterations=100"]  # assets begin seconds apart
SUITE = [*(part for setting in SETTINGS for part in ("--set", setting)), "--seeds", "0"]


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """Of nodes and suites: one token, and one thread, as the bits depend on their number."""
    home = {"PREFECT_HOME": str(tmp_path / "home"), "RAY_USAGE_STATS_ENABLED": "0"}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {**os.environ, **home, **token, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def node(environment) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a node of one worker, a group of processes of its own."""
    nodes = []

    def start(*options: str) -> subprocess.Popen:
        command = [PROGRAMS / "ray", "start", "--num-cpus=1", "--block", *options]
        started = subprocess.Popen(
            [*command, "--disable-usage-stats", f"--object-store-memory={100 * 2**20}"],
            env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        nodes.append(started)
        return started

    yield start
    for one in nodes:
        kill(one)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_node_costs_no_asset_and_no_finished_step(node, environment, params, tmp_path):
    address = f"127.0.0.1:{free_port(2**16)}"
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(json.dumps(PROMPTS))
    suite = [PROGRAMS / "stabledreamer", "suite", prompts, "--params", params, *SUITE]

    # 1. Two machines, an asset on each; then one is gone.
    node("--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false")
    until(lambda: nodes_alive(address, environment) == 1)
    lost = node(f"--address={address}")
    until(lambda: nodes_alive(address, environment) == 2)
    out = tmp_path / "ray"
    on_ray = [*suite, "--runner", "ray", "--ray-address", address, "--out", out]
    running = subprocess.Popen(
        on_ray, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    folders = [out / name for name in ("a-red-bear-s0", "a-blue-car-s0")]
    until(lambda: all(reached(folder) > 20 for folder in folders))
    kill(lost)

    # 2. The suite goes on with the other one.
    text = running.communicate(timeout=300)[0].decode(errors="replace")
    assert running.returncode == 0, text
    until(lambda: nodes_alive(address, environment) == 1)

    # 3. Both assets are what they would have been; that of the lost machine went on where it was,
    # so its losses are those of its last process.
    environment["PREFECT_HOME"] = str(tmp_path / "other home")
    alone = [*suite, "--workers", "2", "--out", tmp_path / "alone"]
    subprocess.run(alone, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    for folder in folders:
        expected = fingerprint(tmp_path / "alone" / folder.name)
        assert differences(expected, fingerprint(folder)) == []
    same = [losses(folder) == losses(tmp_path / "alone" / folder.name) for folder in folders]
    assert sorted(same) == [False, True]


def kill(node: subprocess.Popen) -> None:
    """All processes of a node at once, as when its machine loses power."""
    try:
        os.killpg(node.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    node.wait()


def nodes_alive(address: str, environment: dict[str, str]) -> int:
    """How many nodes the cluster's head knows of."""
    told = subprocess.run(
        [PROGRAMS / "ray", "status", f"--address={address}"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return told.stdout.count(" node_")
