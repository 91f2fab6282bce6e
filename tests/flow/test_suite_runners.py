"""Where a suite's tasks run, and which failures are tried again."""

import errno
import json
import os
import pickle
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import torch
from prefect import task
from prefect.exceptions import PrefectHTTPStatusError

from flows import suite as suite_module
from flows import suite_batch, suite_retry
from flows.suite import suite
from stabledreamer.runtime import ray_gpus, runners
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import load_checkpoint
from tasks.job import Request
from tasks.keys import STAGE2

RECORD = {"stages": {}, "metrics": {}, "config_hash": ""}


def run_suite(folder: Path, params: Path, prompts: list[str], **options) -> dict:
    folder.mkdir(exist_ok=True)
    (folder / "prompts.yaml").write_text(json.dumps({"prompts": prompts}))
    file, out = str(folder / "prompts.yaml"), str(folder / "suite")
    return suite(file, out, params=str(params), bars=False, **options)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


STALE = OSError(errno.ESTALE, "stale file handle")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (STALE, True),
        (caused(UserError("cannot write"), STALE), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OSError(errno.ENOSPC, "no space"), False),
        (FileNotFoundError(errno.ENOENT, "gone"), False),
        (UserError("no such word"), False),
        (caused(UserError("cannot write"), PermissionError(errno.EACCES, "no")), False),
        (ValueError(), False),
    ],
)
def test_what_may_pass(error, passes):
    assert suite_retry.may_pass(error) is passes


REQUEST = httpx.Request("POST", "http://127.0.0.1:4200/api/flow_runs/")


def answered(code: int) -> httpx.HTTPStatusError:
    return PrefectHTTPStatusError("stale", request=REQUEST, response=httpx.Response(code))


@pytest.mark.parametrize(
    ("error", "passes", "says"),
    [
        (answered(503), True, "answered 503 to /api/flow_runs/"),
        (answered(429), True, "answered 429"),
        (answered(404), False, "answered 404"),
        (httpx.ReadTimeout("slow", request=REQUEST), True, "ReadTimeout slow"),
        (httpx.ConnectError("refused", request=REQUEST), True, "ConnectError refused"),
    ],
)
def test_errors_of_the_server_travel_between_processes(error, passes, says):
    with pytest.raises((ConnectionError, RuntimeError)) as raised, suite_retry.server_errors():
        raise error
    assert suite_retry.may_pass(pickle.loads(pickle.dumps(raised.value))) is passes
    assert says in str(raised.value)


def test_other_errors_are_left_as_they_are():
    with pytest.raises(UserError, match="no bear"), suite_retry.server_errors():
        raise UserError("no bear")


@pytest.mark.parametrize(
    ("failures", "error", "tries"),
    [
        (1, STALE, 2),
        (9, STALE, 1 + suite_retry.RETRIES),
        (9, UserError("stale"), 1),
        (1, answered(500), 2),
    ],
)
def test_an_asset_is_tried_again_where_it_can_help(prefect, monkeypatch, failures, error, tries):
    calls = []

    def prepare(_):
        calls.append(time.monotonic())
        if len(calls) <= failures:
            raise error

    monkeypatch.setattr(suite_module, "prepare", prepare)
    monkeypatch.setattr(suite_module, "finished", lambda _: RECORD)
    asset = suite_module.asset.with_options(retry_delay_seconds=0)
    outcome = suite_module._outcome(lambda: asset(Request("a bear")))
    assert len(calls) == tries
    assert ("stale" in outcome.get("error", "")) == (failures == 9)


@pytest.mark.parametrize(
    ("failures", "error", "tries"),
    [(1, STALE, 2), (9, STALE, 1 + suite_retry.RETRIES), (9, UserError("stale"), 1)],
)
def test_of_assets_finished_together_one_that_fails_stops_no_other(
    prefect, monkeypatch, failures, error, tries
):
    calls = []

    def prepare(request):
        calls.append(request.prompt)
        if request.prompt == "a hat" and calls.count("a hat") <= failures:
            raise error
        return request

    monkeypatch.setattr(suite_module, "prepare", prepare)
    monkeypatch.setattr(suite_module, "finished", lambda _: RECORD)
    finish = suite_module.finish.with_options(retry_delay_seconds=0)
    outcomes = finish([Request("a bear"), Request("a hat"), Request("a car")])
    assert calls.count("a hat") == tries
    assert ["error" in outcome for outcome in outcomes] == [False, failures == 9, False]


def test_threads_work_at_once_and_outcomes_stay_in_order(prefect, params, monkeypatch, tmp_path):
    together, most = set(), []

    def prepare(request):
        together.add(request.prompt)
        until = time.monotonic() + 5.0
        while len(together) < 2 and not most and time.monotonic() < until:
            time.sleep(0.01)
        most.append(len(together))
        together.discard(request.prompt)
        raise UserError(f"no {request.prompt}")

    monkeypatch.setattr(suite_module, "prepare", prepare)
    monkeypatch.setattr(suite_module, "write_contact_sheet", lambda *_: None)
    monkeypatch.setattr(suite_module, "publish_suite", lambda *_: None)
    summary = run_suite(tmp_path, params, ["a bear", "a car", "a hat"], workers=2)
    assert max(most) == 2
    assert [one["error"] for one in summary["failures"]] == ["no a bear", "no a car", "no a hat"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("threads", 0, 1, None), "--workers"),
        (("threads", 1, 0, None), "--batch"),
        (("threads", 1, 1, "host:6379"), "--runner ray"),
        (("ray", 1, 1, None), r"\.\[ray\]"),
    ],
)
def test_a_runner_that_cannot_be_had_is_refused(monkeypatch, arguments, says):
    monkeypatch.setattr(runners, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=says):
        runners.check_runner(*arguments)


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "127.0.0.1:x", "ray://:99999999"])
def test_an_address_where_nothing_listens_is_told(address):
    with pytest.raises(UserError, match=r"no Ray cluster answers at --ray-address .*HOST:PORT"):
        runners._check_address(address)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_ray_workers_make_what_threads_make(prefect, params, tmp_path):
    """Needs the extra `ray`: .venv/bin/pip install -c constraints.txt -e '.[ray]'"""
    pytest.importorskip("prefect_ray")
    pytest.importorskip("ray")
    prompts = ["a red bear", "", "a blue car", "a red hat", "a bear"]
    made = {}
    for name, options in (
        ("threads", {"workers": 2, "runner": "threads"}),
        ("ray", {"workers": 2, "runner": "ray"}),
        ("ray-batch", {"workers": 2, "runner": "ray", "batch": 2}),
    ):
        began = time.monotonic()
        summary = run_suite(tmp_path / name, params, prompts, **options)
        print(f"{name}: {time.monotonic() - began:.1f} s")
        assert [one["prompt"] for one in summary["failures"]] == [""], summary["failures"]
        made[name] = [one["folder"] for one in summary["assets"]]
    assert made["ray"] == made["threads"] == made["ray-batch"]
    for folder in made["ray"]:
        scenes = [load_checkpoint(tmp_path / name / "suite" / folder / STAGE2)[0] for name in made]
        for scene in scenes[1:]:
            for key, value in scenes[0].items():
                torch.testing.assert_close(scene[key], value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("cores", [1, 2, 3, 5, 8, 11, 16, 28, 64, 200])
def test_what_a_gpu_has_room_for(cores):
    """To the last bit that Ray counts (1/10000): all of it together, and no batch more."""
    room = ray_gpus.room_on(cores)
    batch, asset = (round(10_000 * room.part(kind)) for kind in ("batch", "finishing"))
    assert room.batches * batch + room.assets * asset <= 10_000 < (room.batches + 1) * batch
    assert room.batches + room.assets <= max(2, cores)
    assert room.batches <= 4
    assert room.assets * 1.7 < 70  # GB, on a GPU of 80


@pytest.mark.parametrize(
    ("alike", "gpus", "part"),
    [(1, 2, 1), (2, 2, 1), (3, 2, 1 / 2), (4, 2, 1 / 2), (6, 2, 1 / 3), (8, 2, 1 / 4)]
    + [(100, 2, 1 / 4), (5, 1, 1 / 4), (0, 2, 1 / 4)],
)
def test_few_batches_spread_over_all_gpus(alike, gpus, part):
    assert ray_gpus.even_part(1 / 4, alike, gpus) == part


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_with_ray_assets_whose_batch_failed_are_made_one_by_one(prefect, params, tmp_path):
    """A file lies where the batches would keep unfinished work."""
    pytest.importorskip("prefect_ray")
    pytest.importorskip("ray")
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / suite_batch.WORK).write_text("")
    prompts = ["a red bear", "a blue car", "a red hat"]
    options = {"workers": 2, "runner": "ray", "batch": 2}
    with pytest.warns(UserWarning, match="going on one by one") as told:
        summary = run_suite(tmp_path, params, prompts, **options)
    assert len([one for one in told if "one by one" in str(one.message)]) == 2
    assert [one["prompt"] for one in summary["assets"]] == prompts, summary["failures"]


@pytest.fixture
def two_gpus():
    """A cluster that says it has two GPUs and eight cores; no task touches one."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("prefect_ray")
    ray.init("local", num_cpus=8, num_gpus=2, include_dashboard=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


class Done(NamedTuple):
    process: int
    gpu: str
    began: float
    ended: float


@task
def work(seconds: float = 0.5) -> Done:
    began = time.time()
    time.sleep(seconds)
    return Done(os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], began, time.time())


def most_at_once(tasks: list[Done]) -> int:
    return max(sum(one.began <= start < one.ended for one in tasks) for *_, start, _ in tasks)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_gpus_share_batches_and_finishing_assets_evenly(prefect, two_gpus):
    """Of a GPU's four cores two are for batches, of which three come, and two for assets."""
    with runners.started("ray", 8) as submit:
        batches = [submit(work, {}, gpu="batch", alike=6) for _ in range(6)]
        assets = [submit(work, {}, gpu="finishing") for _ in range(20)]
        batches, assets = ([result() for result in results] for results in (batches, assets))
    for gpu in "01":
        here = [one for one in batches if one.gpu == gpu]
        assert len(here) == len({one.process for one in here}) == 3  # a fresh process each
        assert most_at_once(here) <= 2
        finishing = [one for one in assets if one.gpu == gpu]
        assert len(finishing) == 10
        assert len({one.process for one in finishing}) <= 2
        assert most_at_once(finishing) <= 2
        assert not {one.process for one in here} & {one.process for one in finishing}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_assets_go_on_while_batches_wait_and_batches_while_assets_do(prefect, two_gpus):
    """Whichever of them came first, and however many they are; a process starts in seconds."""
    for first, second in (("batch", "finishing"), ("finishing", "batch")):
        with runners.started("ray", 8) as submit:
            many = [submit(work, {"seconds": 3.0}, gpu=first, alike=24) for _ in range(24)]
            few = [submit(work, {}, gpu=second, alike=4) for _ in range(4)]
            few, many = ([result() for result in results] for results in (few, many))
        assert max(one.ended for one in few) < max(one.began for one in many)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_gpus_that_another_program_holds_are_not_waited_for(prefect, two_gpus, monkeypatch):
    """A suite then has what Ray can give it: parts of the other GPU."""
    monkeypatch.setattr(ray_gpus, "WAIT_S", 1.0)
    held = two_gpus.remote(num_gpus=1)(lambda: time.sleep(60)).remote()
    with runners.started("ray", 8) as submit:
        done = [submit(work, {}, gpu="finishing") for _ in range(4)]
        assert len({result().gpu for result in done}) == 1
    two_gpus.cancel(held, force=True)
