"""Objects optimised in batches: the scenes of single runs, and nothing done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import suite_batch
from flows.suite import suite
from flows.suite_batch import batches, lacked_stage
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import load_checkpoint
from tasks import ledger
from tasks.checks import prepare
from tasks.job import Request
from tasks.keys import STAGE1, STAGE2

PROMPTS = ["a red bear", "a blue car", "a red hat"]
COMMAND = Path(sys.executable).with_name("stabledreamer")


def write_prompts(folder: Path, prompts: list[str]) -> str:
    file = folder / "prompts.yaml"
    file.write_text(json.dumps({"prompts": prompts}))
    return str(file)


@pytest.fixture(scope="module")
def single(make, params, tmp_path_factory) -> Path:
    """A suite made one by one."""
    out = tmp_path_factory.mktemp("single")
    suite(write_prompts(out, PROMPTS[:2]), str(out / "suite"), params=str(params), bars=False)
    return out / "suite"


@pytest.fixture(scope="module")
def batched(make, params, tmp_path_factory) -> tuple[Path, dict]:
    """The same in batches, with a prompt that fails among them."""
    out = tmp_path_factory.mktemp("batched")
    file = write_prompts(out, [PROMPTS[0], "", PROMPTS[1]])
    summary = suite(file, str(out / "suite"), params=str(params), bars=False, batch=3)
    return out / "suite", summary


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_batch_makes_the_scenes_of_single_runs(single, batched):
    out, _ = batched
    for name in ("a-red-bear-s0", "a-blue-car-s0"):
        for path in (STAGE1, STAGE2):
            alone, together = (load_checkpoint(at / name / path)[0] for at in (single, out))
            for key, value in alone.items():
                # Of the norm: Adam makes a whole step of a gradient that is only rounding.
                assert (together[key] - value).norm() < 1e-2 * value.norm(), (name, path, key)


def test_a_batch_leaves_the_folders_and_records_of_single_runs(single, batched):
    out, _ = batched
    for name in ("a-red-bear-s0", "a-blue-car-s0"):
        assert files(out / name) == files(single / name)
        alone, together = (json.loads((at / name / "run.json").read_text()) for at in (single, out))
        assert together.keys() == alone.keys()
        assert together["steps"]["stage1"] == alone["steps"]["stage1"]
        for stage in ("stage1", "stage2"):
            assert together["stages"][stage].pop("batch") == 2
            assert together["stages"][stage].keys() == alone["stages"][stage].keys()
    assert not (out / suite_batch.WORK).exists()


def test_a_failing_prompt_does_not_stop_its_batch(batched):
    _, summary = batched
    assert [asset["prompt"] for asset in summary["assets"]] == PROMPTS[:2]
    assert [failure["prompt"] for failure in summary["failures"]] == [""]


def test_only_what_is_missing_is_optimised(single, params, make, monkeypatch):
    asked = []
    run_stages = suite_batch.run_stages

    def watched(config, name, prompts, *arguments, **places):
        asked.append((name, prompts))
        return run_stages(config, name, prompts, *arguments, **places)

    monkeypatch.setattr(suite_batch, "run_stages", watched)
    file = write_prompts(single, [*PROMPTS, "a red hat of a bear"])
    options = {"params": str(params), "bars": False, "batch": 2}
    suite(file, str(single), **options)
    assert asked == [(name, [PROMPTS[2], "a red hat of a bear"]) for name in ("stage1", "stage2")]

    asked.clear()
    (single / "a-red-hat-s0" / STAGE2).unlink()
    suite(file, str(single), **options)
    assert asked == [("stage2", [PROMPTS[2]])]
    (single / "a-red-hat-s0" / "mesh.glb").unlink()
    summary = suite(file, str(single), **options)
    assert len(asked) == 1 and len(summary["assets"]) == 4


def test_a_batch_that_fails_is_made_one_by_one(params, make, monkeypatch, tmp_path):
    def broken(*_, **__):
        raise RuntimeError("no luck")

    monkeypatch.setattr(suite_batch, "run_stages", broken)
    file = write_prompts(tmp_path, ["a bear", "a hat"])
    with pytest.warns(UserWarning, match="no luck; going on one by one"):
        summary = suite(file, str(tmp_path / "out"), params=str(params), bars=False, batch=2)
    assert len(summary["assets"]) == 2


def test_a_damaged_result_of_a_batch_is_not_taken(params, prefect, tmp_path):
    overrides = ("stage1.iterations=3",)
    request = Request(
        "a red bear", 0, str(params), overrides, out=str(tmp_path / "asset"), bars=False
    )
    suite_batch.optimize_batch.fn([request], str(tmp_path / "work"))
    job = prepare(request)
    assert lacked_stage(job) is None and batches([request], 2) == []
    left = job.out / STAGE1
    whole = left.read_bytes()
    left.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert lacked_stage(job) == "stage1" and batches([request], 2) == [[request]]
    left.write_bytes(whole)
    assert lacked_stage(job) is None
    (job.out / ledger.NAME).write_text("{")
    assert lacked_stage(job) == "stage1"


@pytest.mark.parametrize(
    "override", ["stage2.density.strategy=default", "debug.every=2"]
)  # fmt: skip
def test_settings_that_no_batch_can_have_are_refused(params, override):
    with pytest.raises(UserError, match="--batch 1"):
        suite_batch.check_batch(Request("", params=str(params), overrides=(override,)))


@pytest.mark.slow
def test_killed_in_both_stages_of_a_batch_it_ends_with_the_same_bits(
    params, prefect, monkeypatch, tmp_path
):
    overrides = ["stage1.iterations=24", "stage2.iterations=16"]
    file = write_prompts(tmp_path, PROMPTS[:2])
    out = tmp_path / "killed"

    first = _kill_when_under_way(file, params, overrides, out, passed=set())
    bear = out / "a-red-bear-s0"
    assert not (bear / STAGE1).exists()
    second = _kill_when_under_way(file, params, overrides, out, passed={first})
    assert first != second and not first.exists()
    assert (bear / STAGE1).exists() and not (bear / STAGE2).exists()

    asked = []
    run_stages = suite_batch.run_stages
    monkeypatch.setattr(
        suite_batch,
        "run_stages",
        lambda config, name, *rest, **places: (
            asked.append(name),
            run_stages(config, name, *rest, **places),
        )[1],
    )
    suite(file, str(out), params=str(params), overrides=overrides, batch=2, bars=False)
    assert asked == ["stage2"]

    names = ("a-red-bear-s0", "a-blue-car-s0")
    again = [
        Request(prompt, 0, str(params), tuple(overrides), out=str(tmp_path / name), bars=False)
        for prompt, name in zip(PROMPTS[:2], names, strict=True)
    ]
    suite_batch.optimize_batch.fn(again, str(tmp_path / "work"))
    for name in names:
        for path in (STAGE1, STAGE2):
            assert (out / name / path).read_bytes() == (tmp_path / name / path).read_bytes()


def _kill_when_under_way(
    file: str, params: Path, overrides: list[str], out: Path, passed: set[Path]
) -> Path:
    """Run the command until a batch whose folder is not of `passed` has done three steps."""
    settings = [option for override in overrides for option in ("--set", override)]
    process = subprocess.Popen(
        [COMMAND, "suite", file, "--params", params, "--batch", "2", "--out", out, *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while True:
        assert process.poll() is None, process.communicate()
        for path in out.glob(f"{suite_batch.WORK}/*/state-*.safetensors"):
            if path.parent not in passed and int(path.stem.split("-")[1]) >= 3:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                return path.parent
        time.sleep(0.005)
