"""Make the assets of many prompts, seeds and recipes, on every GPU (or the CPU), and keep them.

    python -m benchmarks.search.make_assets benchmarks/claims/gpu.yaml --out outputs/search \\
        --batch 36

The YAML file lists `prompts` (or names a prompt file), `seeds` and `recipes`: a name and a list of
params files and `a.b=c` overrides, laid over params.yaml and over the overrides of `base`, if any.
Objects of one recipe are optimised in batches by the ordinary stage code; workers take batches from
a queue, results.jsonl grows by one line an object, and a run started again does only what is
missing or was made with other settings, priors or code. At the end (and at --minutes) it writes one
contact sheet a recipe. The Gaussians stay, as PLY files, for benchmarks/claims/suite_table.py to
measure; --stage1 OUT/plys/RECIPE starts stage 2 from such files of the same prompts and seeds.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import queue
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.search.results import (
    Result,
    name_of,
    read_results,
    recipe_config,
    result_name,
    write_results,
)
from benchmarks.search.strips import write_sheets, write_strip
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer_core.assets.splats.ply import load_ply, save_ply
from stabledreamer_core.optimization.stage import pick_device, run_stages
from stabledreamer_core.settings.stage import STAGES
from tasks.keys import MESH, STAGE1, STAGE2, step_key

MADE_BY = ("stage1", "stage2")  # the steps that an asset depends on
Score = Callable[..., dict[str, Any]]  # of splats, prompt, settings and device


def main() -> None:
    make(argument_parser(__doc__).parse_args())


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(doc or "").split("\n\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1, help="processes a GPU")
    parser.add_argument("--batch", type=int, default=1, help="objects optimised together")
    parser.add_argument("--stage1", type=Path, help="start stage 2 from a kept recipe's folder")
    parser.add_argument("--minutes", type=float, default=1e9, help="take no new job after this")
    parser.add_argument("--only", nargs="*", help="names of recipes")
    parser.set_defaults(keep=True, classifier=None)  # (config, stage) -> what says what views show
    return parser


def make(
    arguments: argparse.Namespace, steps: tuple[str, ...] = MADE_BY, score: Score | None = None
) -> list[Result]:
    """Make what is missing, and return all results.

    Args:
        steps: of `tasks.keys.STEPS`, that results depend on.
        score: measures every asset after each stage.
    """
    began, out = time.monotonic(), arguments.out
    out.mkdir(parents=True, exist_ok=True)
    search = yaml.safe_load(arguments.file.read_text())
    jobs = missing(jobs_of(search, arguments.only, arguments.stage1, steps), out)
    deadline = began + 60 * arguments.minutes
    _run_all(_batches(jobs, arguments.batch), arguments, score, deadline)
    results = read_results(out / "results.jsonl")
    print(f"{len(results)} results, {time.monotonic() - began:.0f} s")
    write_sheets(results, out)
    return results


def jobs_of(
    search: dict[str, Any],
    only: list[str] | None = None,
    stage1: Path | None = None,
    steps: tuple[str, ...] = MADE_BY,
) -> list[Result]:
    """A search file's jobs, each with the key of all that its result depends on."""
    prompts, base = search["prompts"], search.get("base", [])
    if isinstance(prompts, str):
        prompts = yaml.safe_load(Path(prompts).read_text())["prompts"]
    jobs = [
        {"recipe": name, "set": [*base, *overrides], "prompt": prompt, "seed": seed}
        for name, overrides in search["recipes"].items()
        if not only or name in only
        for seed in search["seeds"]
        for prompt in prompts
    ]
    for job in jobs:
        job["key"] = _content(tuple(job["set"]), steps)
        if stage1 is not None:
            start = _start(stage1, job).read_bytes()
            job["key"] = hashlib.sha256(job["key"].encode() + start).hexdigest()
    return jobs


@cache
def _content(settings: tuple[str, ...], steps: tuple[str, ...]) -> str:
    """Hash of the settings, models and code that these steps of a recipe depend on."""
    config, files = recipe_config(list(settings)), dict.fromkeys((STAGE1, STAGE2, MESH), "")
    keys = [step_key(step, config, "", 0, files) for step in steps]
    return hashlib.sha256(" ".join(keys).encode()).hexdigest()


def missing(jobs: list[Result], out: Path) -> list[Result]:
    """The jobs that have no result; a result of theirs under another key is dropped."""
    keys = {name_of(job): job["key"] for job in jobs}
    results = read_results(out / "results.jsonl")
    kept = [one for one in results if keys.get(name_of(one), one.get("key")) == one.get("key")]
    if len(kept) < len(results):
        stale = len(results) - len(kept)
        print(f"{stale} results of other settings, priors or code are made again", flush=True)
        write_results(out / "results.jsonl", kept)
    done = {name_of(result) for result in kept}
    return [job for job in jobs if name_of(job) not in done]


def _batches(jobs: list[Result], size: int) -> list[list[Result]]:
    """Jobs of one recipe together, at most `size` of them."""
    batches: list[list[Result]] = []
    for job in jobs:
        last = batches[-1] if batches else []
        if last and last[0]["recipe"] == job["recipe"] and len(last) < size:
            last.append(job)
        else:
            batches.append([job])
    return batches


def _run_all(
    batches: list[list[Result]],
    arguments: argparse.Namespace,
    score: Score | None,
    deadline: float,
) -> None:
    names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(
        map(str, range(max(1, torch.cuda.device_count())))
    )
    gpus = names.split(",")
    context = multiprocessing.get_context("spawn")
    todo, finished = context.Queue(), context.Queue()
    for batch in batches:
        todo.put(batch)
    processes = [
        context.Process(
            target=_work, args=(gpus[index % len(gpus)], todo, finished, arguments, score, deadline)
        )
        for index in range(min(arguments.workers * len(gpus), len(batches)))
    ]
    for process in processes:
        process.start()
    with open(arguments.out / "results.jsonl", "a") as log:
        while any(process.is_alive() for process in processes) or not finished.empty():
            try:
                result = finished.get(timeout=1.0)
            except queue.Empty:
                continue
            log.write(json.dumps(result) + "\n")
            log.flush()


def _work(
    gpu: str,
    todo: Any,
    finished: Any,
    arguments: argparse.Namespace,
    score: Score | None,
    deadline: float,
) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    while time.monotonic() < deadline:
        try:
            batch = todo.get(timeout=2.0)
        except queue.Empty:
            return
        try:
            for result in _dream(batch, arguments, score):
                finished.put(result)
        except Exception:
            print(batch[0], traceback.format_exc(), flush=True)


def _dream(jobs: list[Result], arguments: argparse.Namespace, score: Score | None) -> list[Result]:
    """Both stages of a batch, the scores after each, and strips of eight views."""
    out, stage1 = arguments.out, arguments.stage1
    config = recipe_config(jobs[0]["set"])
    device = pick_device(config.device)
    prompts, seeds = [job["prompt"] for job in jobs], [job["seed"] for job in jobs]
    results = [{**job, "batch": len(jobs), "seconds": 0.0} for job in jobs]
    scenes: list[Any] | None = None
    if stage1 is not None:
        scenes = [load_ply(_start(stage1, job)) for job in jobs]
    for name in STAGES if scenes is None else STAGES[1:]:
        number = name[-1]
        if config.stage(name).iterations == 0:
            break
        places: dict[str, Any] = {"base": ROOT, "cache_dir": EMBEDDINGS}
        if arguments.classifier is not None:
            places["classify"] = arguments.classifier(config, name)
        finished = run_stages(config, name, prompts, seeds, scenes, **places)
        scenes = [stage.splats for stage in finished]
        for result, stage in zip(results, finished, strict=True):
            if score is not None:
                scores = score(stage.splats, result["prompt"], config, device)
                result |= {"metrics": scores, f"metrics{number}": scores}
            result["seconds"] += stage.record["seconds"] / len(jobs)
            result[f"loss{number}"] = stage.record["final_loss"]
            result[f"peak_memory_bytes{number}"] = stage.record["peak_memory_bytes"]
            picture = out / result_name(result, "strips", f"-{number}.png")
            write_strip(stage.splats, picture, device)
            if arguments.keep:
                path = out / result_name(result, "plys", f"-{number}.ply")
                path.parent.mkdir(parents=True, exist_ok=True)
                save_ply(stage.splats, path)
    return results


def _start(stage1: Path, job: Result) -> Path:
    """The kept Gaussians that a job's stage 2 starts from."""
    return stage1 / Path(result_name(job, "", "-1.ply")).name


if __name__ == "__main__":
    main()
