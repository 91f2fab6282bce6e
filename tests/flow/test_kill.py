"""Real processes, really killed: the same command goes on and ends with the same bits."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.keys import STAGE1, STAGE2

PROMPT = "a red bear"
COMMAND = Path(sys.executable).with_name("stabledreamer")
ITERATIONS = {"stage1": 24, "stage2": 16}
OVERRIDES = [f"{stage}.iterations={count}" for stage, count in ITERATIONS.items()]
# The command, with a stop that gets lost while `module.function` runs.
LOSING = """
import contextlib, importlib, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)
module, name = importlib.import_module(sys.argv.pop(1)), sys.argv.pop(1)
real = getattr(module, name)

def losing(*arguments, **places):
    with contextlib.suppress(BaseException):
        signal.raise_signal(getattr(signal, how))
    return real(*arguments, **places)

how = sys.argv.pop(1)
setattr(module, name, losing)
from stabledreamer.cli.main import main
sys.exit(main())
"""
COMPARED = (STAGE1, STAGE2, "gaussians.ply", "preview.png", "mesh.glb")


@pytest.fixture(scope="module")
def reference(make, tmp_path_factory) -> Path:
    """The asset of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("reference") / "asset"
    make(out, overrides=OVERRIDES)
    return out


def start(params: Path, out: Path, program: tuple = (COMMAND,)) -> subprocess.Popen:
    """The command a user would give, in a process group of its own."""
    settings = [option for override in OVERRIDES for option in ("--set", override)]
    return subprocess.Popen(
        [*program, "dream", PROMPT, "--params", params, "--out", out, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(process: subprocess.Popen, happened: Callable[[], bool]) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def stop(process: subprocess.Popen, how: signal.Signals) -> str:
    """Send a signal, wait, and see that no process of the group is left; returns stderr."""
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    return errors


def reached(out: Path, stage: str, step: int) -> Callable[[], bool]:
    def check() -> bool:
        states = out.glob(f"{stage}/work/*/state-*.safetensors")
        return any(int(path.stem.split("-")[1]) >= step for path in states)

    return check


def assert_same(out: Path, reference: Path) -> None:
    for name in COMPARED:
        assert (out / name).read_bytes() == (reference / name).read_bytes(), name


@pytest.mark.timeout(600)
def test_killed_in_each_stage_between_and_after_ends_with_the_same_bits(
    reference, params, tmp_path
):
    out = tmp_path / "asset"
    moment = random.Random(0)
    moments = (
        reached(out, "stage1", moment.randrange(2, ITERATIONS["stage1"] - 4)),
        (out / STAGE1).exists,
        reached(out, "stage2", moment.randrange(2, ITERATIONS["stage2"] - 4)),
        (out / "gaussians.ply").exists,
    )
    for happened in moments:
        process = start(params, out)
        wait_for(process, happened)
        stop(process, signal.SIGKILL)
        assert not (out / "run.json").exists()
    process = start(params, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert_same(out, reference)


@pytest.mark.parametrize(("how", "stage"), [(signal.SIGINT, "stage1"), (signal.SIGTERM, "stage2")])
def test_interrupted_says_how_to_go_on_and_goes_on(reference, params, make, tmp_path, how, stage):
    out = tmp_path / "asset"
    process = start(params, out)
    wait_for(process, reached(out, stage, 3))
    errors = stop(process, how)
    assert process.returncode == 130
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert "go on with: " in last and f"stabledreamer dream '{PROMPT}'" in last
    assert str(out) in last
    make(out, overrides=OVERRIDES)
    assert_same(out, reference)


def test_a_step_in_which_a_stop_got_lost_is_made_again(reference, params, tmp_path):
    out = tmp_path / "asset"
    losing = (
        sys.executable,
        "-c",
        LOSING,
        "stabledreamer_core.assets.mesh.extract",
        "write_mesh",
        "SIGTERM",
    )
    process = start(params, out, losing)
    text, errors = process.communicate()
    assert process.returncode == 130 and "go on with: " in errors, errors
    assert "  preview " in text and "  mesh " not in text
    process = start(params, out)
    text, errors = process.communicate()
    assert process.returncode == 0, errors
    assert re.search("  preview +kept", text) and re.search(r"  mesh +\d", text)
    assert_same(out, reference)


def test_a_stop_that_gets_lost_in_a_stage_is_heeded_at_its_next_step(params, tmp_path):
    out = tmp_path / "asset"
    losing = (sys.executable, "-c", LOSING, "tasks.steps", "run_stage", "SIGINT")
    process = start(params, out, losing)
    _, errors = process.communicate()
    assert process.returncode == 130 and "go on with: " in errors, errors
    assert not reached(out, "stage1", 2)() and not (out / STAGE1).exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_random_moments_again_and_again(reference, params, tmp_path):
    out = tmp_path / "asset"
    moment = random.Random(1)
    for patience in (*[moment.uniform(2.0, 16.0) for _ in range(12)], 600.0):
        process = start(params, out)
        try:
            process.communicate(timeout=patience)
            break
        except subprocess.TimeoutExpired:
            stop(process, signal.SIGKILL)
    assert process.returncode == 0
    assert_same(out, reference)
