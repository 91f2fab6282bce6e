"""Try recipes on many prompts at once, on every GPU (or the CPU), and score them with the judge.

    python -m benchmarks.search.recipe_search benchmarks/search/recipe_search.yaml \\
        --out outputs/search --batch 20

The YAML file lists `prompts` (or names a prompt file), `seeds` and `recipes`: a name and a list of
params files and `a.b=c` overrides, laid over params.yaml and over the overrides of `base`, if any.
Objects of one recipe are optimised in batches by the ordinary stage code; workers take batches from
a queue, results.jsonl grows by one line an object, and a run started again does only what is
missing or was made with other settings, priors or code. At the end (and at --minutes) it prints a
table and writes one contact sheet a recipe. With --keep the Gaussians stay, as PLY files; --stage1
OUT/plys/RECIPE starts stage 2 from such files of the same prompts and seeds.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import queue
import time
import traceback
from functools import cache
from pathlib import Path
from typing import Any

import yaml

METRICS = (
    *("category", "colour", "accessory", "view", "view_exact", "multi_face", "r_precision"),
    *("colour_error", "detail", "doubt", "haze"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1, help="processes a GPU")
    parser.add_argument("--batch", type=int, default=1, help="objects optimised together")
    parser.add_argument("--keep", action="store_true", help="keep the Gaussians (plys/)")
    parser.add_argument("--stage1", type=Path, help="start stage 2 from a kept recipe's folder")
    parser.add_argument(
        "--unscored", action="store_true", help="leave scores to suite_table, which needs no GPU"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="take no new job after this")
    parser.add_argument("--only", nargs="*", help="names of recipes")
    arguments = parser.parse_args()

    began = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    jobs = jobs_of(yaml.safe_load(arguments.file.read_text()), arguments.only, arguments.stage1)
    jobs = missing(jobs, arguments.out)
    batches = _batches(jobs, arguments.batch)
    deadline = began + 60 * arguments.minutes
    _run_all(batches, arguments, deadline)
    results = _results(arguments.out)
    print(f"{len(results)} results, {time.monotonic() - began:.0f} s")
    print(table(results))
    _sheets(results, arguments.out)


def table(results: list[dict[str, Any]]) -> str:
    """A Markdown table: mean of every metric for each recipe, and seconds an asset."""
    lines = [
        "| recipe | runs | " + " | ".join(METRICS) + " | seconds |",
        "|---" * (len(METRICS) + 3) + "|",
    ]
    for recipe in dict.fromkeys(result["recipe"] for result in results):
        mine = [result for result in results if result["recipe"] == recipe]
        cells = [recipe, str(len(mine))]
        for metric in METRICS:
            found = [result.get("metrics", {}).get(metric) for result in mine]
            values = [value for value in found if value is not None]
            cells.append(f"{sum(values) / len(values):.3f}" if values else "-")
        cells.append(f"{sum(r['seconds'] for r in mine) / len(mine):.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def jobs_of(
    search: dict[str, Any], only: list[str] | None = None, stage1: Path | None = None
) -> list[dict[str, Any]]:
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
        job["key"] = _content(tuple(job["set"]))
        if stage1 is not None:
            start = _start(stage1, job).read_bytes()
            job["key"] = hashlib.sha256(job["key"].encode() + start).hexdigest()
    return jobs


@cache
def _content(settings: tuple[str, ...]) -> str:
    """Hash of the settings, priors and code that a recipe's assets and scores depend on."""
    from tasks.keys import MESH, STAGE1, STAGE2, step_key

    config, files = recipe_config(list(settings)), dict.fromkeys((STAGE1, STAGE2, MESH), "")
    steps = ("stage1", "stage2", "evaluate")
    keys = [step_key(step, config, "", 0, files) for step in steps]
    return hashlib.sha256(" ".join(keys).encode()).hexdigest()


def missing(jobs: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """The jobs that have no result; a result of theirs under another key is dropped."""
    from stabledreamer_core.files import atomic_write

    keys = {name_of(job): job["key"] for job in jobs}
    results = _results(out)
    kept = [one for one in results if keys.get(name_of(one), one.get("key")) == one.get("key")]
    if len(kept) < len(results):
        stale = len(results) - len(kept)
        print(f"{stale} results of other settings, priors or code are made again", flush=True)
        with atomic_write(out / "results.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(one) + "\n" for one in kept))
    done = {name_of(result) for result in kept}
    return [job for job in jobs if name_of(job) not in done]


def _batches(jobs: list[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    """Jobs of one recipe together, at most `size` of them."""
    batches: list[list[dict[str, Any]]] = []
    for job in jobs:
        last = batches[-1] if batches else []
        if last and last[0]["recipe"] == job["recipe"] and len(last) < size:
            last.append(job)
        else:
            batches.append([job])
    return batches


def name_of(job: dict[str, Any]) -> tuple[str, str, int]:
    """What tells a search's results apart."""
    return job["recipe"], job["prompt"], job["seed"]


def _results(out: Path) -> list[dict[str, Any]]:
    file = out / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _run_all(
    batches: list[list[dict[str, Any]]], arguments: argparse.Namespace, deadline: float
) -> None:
    import torch

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
            target=_work, args=(gpus[index % len(gpus)], todo, finished, arguments, deadline)
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
    gpu: str, todo: Any, finished: Any, arguments: argparse.Namespace, deadline: float
) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    while time.monotonic() < deadline:
        try:
            batch = todo.get(timeout=2.0)
        except queue.Empty:
            return
        try:
            for result in _dream(batch, arguments):
                finished.put(result)
        except Exception:
            print(batch[0], traceback.format_exc(), flush=True)


def _dream(jobs: list[dict[str, Any]], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Both stages of a batch, the judge's scores after each, and strips of eight views."""
    from stabledreamer.runtime.root import EMBEDDINGS, ROOT
    from stabledreamer_core.optimization.stage import pick_device, run_stages
    from stabledreamer_core.scene.gaussians import load_ply, save_ply
    from stabledreamer_core.settings.config import STAGES

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
        places = {"base": ROOT, "cache_dir": EMBEDDINGS}
        finished = run_stages(config, name, prompts, seeds, scenes, **places)
        scenes = [stage.splats for stage in finished]
        for result, stage in zip(results, finished, strict=True):
            if not arguments.unscored:
                scores = _scores(stage.splats, result["prompt"], config, device)
                result |= {"metrics": scores, f"metrics{number}": scores}
            result["seconds"] += stage.record["seconds"] / len(jobs)
            result[f"loss{number}"] = stage.record["final_loss"]
            result[f"peak_memory_bytes{number}"] = stage.record["peak_memory_bytes"]
            _write_strip(
                stage.splats, out / result_name(result, "strips", f"-{number}.png"), device
            )
            if arguments.keep:
                path = out / result_name(result, "plys", f"-{number}.ply")
                path.parent.mkdir(parents=True, exist_ok=True)
                save_ply(stage.splats, path)
    return results


def _scores(splats: Any, prompt: str, config: Any, device: Any) -> dict[str, Any]:
    from benchmarks.search.scores import doubt, haze
    from toybox.metrics.evaluate import evaluate

    scores = evaluate(splats, prompt, config.evaluate, device)
    scores["doubt"] = doubt(splats, prompt, config, device)
    scores["haze"] = haze(splats, config, device)
    return scores


def recipe_config(settings: list[str]) -> Any:
    """params.yaml under a recipe's params file (at most one) and its `a.b=c` overrides."""
    from stabledreamer.runtime.settings import load_config

    files = [Path(setting) for setting in settings if "=" not in setting]
    overrides = [setting for setting in settings if "=" in setting]
    return load_config(files[0] if files else None, overrides)


def result_name(job: dict[str, Any], folder: str, ending: str) -> str:
    """Where a result's picture or Gaussians lie in the search's folder."""
    slug = "-".join(job["prompt"].split()[1:])
    return f"{folder}/{job['recipe']}/{slug}-s{job['seed']}{ending}"


def _start(stage1: Path, job: dict[str, Any]) -> Path:
    """The kept Gaussians that a job's stage 2 starts from."""
    return stage1 / Path(result_name(job, "", "-1.ply")).name


def _write_strip(splats: Any, path: Path, device: Any) -> None:
    from benchmarks.claims.suite_sheet import strip

    path.parent.mkdir(parents=True, exist_ok=True)
    strip(splats, 96, device).save(path)


def _sheets(results: list[dict[str, Any]], out: Path) -> None:
    """One picture a recipe: a row a prompt (first seed), after stage 1 beside after stage 2."""
    import imageio.v3 as imageio
    import numpy as np

    for recipe in dict.fromkeys(result["recipe"] for result in results):
        rows = []
        for result in results:
            if result["recipe"] != recipe or result["seed"] != results[0]["seed"]:
                continue
            strips = [out / result_name(result, "strips", f"-{number}.png") for number in (1, 2)]
            rows.append(np.hstack([imageio.imread(path) for path in strips if path.exists()]))
        if rows:
            imageio.imwrite(out / f"sheet-{recipe}.png", np.vstack(rows))


if __name__ == "__main__":
    main()
