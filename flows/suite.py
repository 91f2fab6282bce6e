"""Many prompts, the same flow for each, a summary, and what got worse since last time."""

import json
import statistics
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.runtime import task_run

from flows import history
from flows.contact_sheet import write_contact_sheet
from flows.dream import finished, make, make_asset
from flows.prompts_file import read_prompts
from flows.suite_batch import WORK, batches, check_batch, optimize_batch
from flows.suite_pages import publish_comparison, publish_suite
from flows.suite_retry import RETRIES, may_pass, retried, server_errors
from stabledreamer.runtime import stopping
from stabledreamer.runtime.runners import Result, Runner, Submit, check_runner, started
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.files import atomic_write
from tasks.asset_folder import slugs
from tasks.checks import check_models, prepare
from tasks.job import Request
from tasks.run_record import Record

Outcome = dict[str, Any]
AT_ONCE = 4  # assets of a batch that one task finishes: fewer messages, and still spread over cores


@retried(name="asset", task_run_name="{request.prompt}-s{request.seed}")
def asset(request: Request) -> Outcome:
    """One asset of a suite, its steps tasks of a run of its own."""
    with server_errors():
        job = prepare(request)
        return _outcome_of(finished(job) or make_asset(job))


@retried(name="finish")
def finish(requests: list[Request]) -> list[Outcome]:
    """Several assets whose stages are done; Prefect hears of this one task.

    A failure is an outcome, so that it stops no other; one that may pass is tried again first.
    """
    outcomes = []
    for request in requests:
        try:
            job = prepare(request)
            outcomes.append(_outcome_of(finished(job) or make(job, told=False)))
        except Exception as error:
            stopping.check()  # it may come of the stop
            if may_pass(error) and task_run.run_count <= RETRIES:
                raise
            outcomes.append(_failure(error))
    return outcomes


@flow(name="suite", flow_run_name="{out}")
def suite(
    file: str,
    out: str,
    seeds: list[int] | None = None,
    params: str | None = None,
    overrides: list[str] | None = None,
    quick: bool = False,
    workers: int = 1,
    bars: bool = True,
    batch: int = 1,
    runner: Runner = "threads",
    ray_address: str | None = None,
    preset: str | None = None,
) -> dict[str, Any]:
    """Make an asset for each of a file's prompts and seeds; returns what summary.json holds.

    Args:
        file: prompts (prompts_file.py).
        out: folder of the asset folders.
        seeds: instead of the file's.
        params, overrides, quick, preset: as for flows/dream.py.
        workers: assets made at once.
        bars: whether to draw progress bars, of one asset at a time.
        batch: objects optimised at once.
        runner, ray_address: where the tasks run (runners.py).

    Raises:
        UserError: the file cannot be read, or the runner, the batches or the priors cannot be had.
    """
    # 1. What to make.
    check_runner(runner, workers, batch, ray_address)
    prompts, own_seeds = read_prompts(Path(file))
    check_models(load_config(Path(params) if params else None, overrides, quick, preset))
    folder = Path(out).absolute()  # Ray's workers have folders of their own
    settings = Request(
        "",
        params=params and str(Path(params).absolute()),
        overrides=tuple(overrides or ()),
        quick=quick,
        preset=preset,
        bars=bars and workers == 1 and runner == "threads",
    )
    requests = _requests(settings, prompts, seeds or own_seeds, folder)

    # 2. Make it.
    with started(runner, workers, ray_address) as submit:
        outcomes = _make(requests, batch, folder / WORK, submit)

    # 3. Sum it up.
    summary = summarize(outcomes)
    with atomic_write(Path(out) / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    write_contact_sheet(Path(out), summary["assets"])
    publish_suite(Path(out), summary)

    # 4. What got worse?
    now = history.entry(summary)
    before = history.append(Path(out), now)
    if before:
        publish_comparison(Path(out), before, now)
    return summary


def _requests(
    settings: Request, prompts: list[str], seeds: list[int], folder: Path
) -> list[Request]:
    """Every prompt with every seed, once, each in a folder of its own.

    Prompts that differ in spaces alone are one, as they are to tasks/checks.py.
    """
    spaced = list(dict.fromkeys(" ".join(prompt.split()) for prompt in prompts))
    distinct = list(dict.fromkeys(seeds))
    repeated = len(prompts) * len(seeds) - len(spaced) * len(distinct)
    if repeated:
        warnings.warn(f"{repeated} assets were asked for twice; each is made once", stacklevel=2)
    names = slugs(spaced)
    return [
        replace(settings, prompt=prompt, seed=seed, out=str(folder / f"{names[prompt]}-s{seed}"))
        for prompt in spaced
        for seed in distinct
    ]


def _make(requests: list[Request], batch: int, work: Path, submit: Submit) -> list[Outcome]:
    """Outcomes in the order asked; a failure is an outcome, so it stops no other asset."""
    made: dict[Request, Result] = {}
    bars = any(request.bars for request in requests)

    def finish_all(group: list[Request]) -> None:
        for first in range(0, len(group), AT_ONCE):
            some = group[first : first + AT_ONCE]
            done = cache(submit(finish, {"requests": some}, gpu="finishing"))
            made.update((one, partial(_nth, done, index)) for index, one in enumerate(some))

    # 1. Stages 1 and 2 in batches; the rest of each asset as soon as its batch is done.
    if batch > 1 and requests:
        check_batch(requests[0])
        groups = batches(requests, batch)
        ahead = [_ahead(group, len(groups), work, submit) for group in groups]
        for index, (group, done) in enumerate(zip(groups, ahead, strict=True)):
            if bars:
                print(f"[batch {index + 1}/{len(groups)}] {len(group)} at once", flush=True)
            if problem := _outcome(done).get("error"):
                warnings.warn(f"{problem}; going on one by one", stacklevel=2)
            finish_all(group)

    # 2. What is done already, cannot be done, or is made alone.
    if batch > 1:
        finish_all([request for request in requests if request not in made])
    else:
        made = {one: submit(asset, {"request": one}, gpu="whole") for one in requests}
    outcomes = []
    for index, request in enumerate(requests):
        if bars:
            print(
                f"[{index + 1}/{len(requests)}] {request.prompt} (seed {request.seed})", flush=True
            )
        about = {"prompt": request.prompt, "seed": request.seed}
        about["folder"] = Path(str(request.out)).name
        outcomes.append(about | _outcome(made[request]))
    return outcomes


def _ahead(group: list[Request], groups: int, work: Path, submit: Submit) -> Result:
    parameters = {"requests": group, "work": str(work)}
    return submit(optimize_batch, parameters, gpu="batch", alike=groups, here=True)


def _nth(done: Result, index: int) -> Outcome:
    return cast(Outcome, done()[index])


def _outcome_of(record: Record) -> Outcome:
    return {key: record[key] for key in ("stages", "metrics", "config_hash")}


def _outcome(result: Result) -> Outcome:
    try:
        return result() or {}
    except Exception as error:
        stopping.check()  # it may come of the stop
        return _failure(error)


def _failure(error: Exception) -> Outcome:
    return {"error": " ".join(str(error).split()) or type(error).__name__}


def summarize(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Assets, failures, and of each metric the mean, spread, least and most over the assets."""
    outcomes = list(outcomes)
    assets = [outcome for outcome in outcomes if "error" not in outcome]
    values: dict[str, list[float]] = {}
    for outcome in assets:
        for name, value in outcome["metrics"].items():
            if isinstance(value, int | float):
                values.setdefault(name, []).append(float(value))
    return {
        "metrics": {
            name: {
                "mean": statistics.fmean(numbers),
                "std": statistics.pstdev(numbers),
                "min": min(numbers),
                "max": max(numbers),
                "count": len(numbers),
            }
            for name, numbers in values.items()
        },
        "assets": assets,
        "failures": [outcome for outcome in outcomes if "error" in outcome],
    }
