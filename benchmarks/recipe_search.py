"""Try recipes on many prompts at once, on every GPU (or the CPU), and score them with the judge.

    python -m benchmarks.recipe_search benchmarks/recipe_search.yaml --out outputs/search

The YAML file lists `prompts`, `seeds` and `recipes` (a name and a list of `a.b=c` overrides of
params.yaml). Every (recipe, prompt, seed) is one job of the ordinary stage code; workers take jobs
from a queue, results.jsonl grows by one line a job, and a run that is started again does only what
is missing. At the end (and at --minutes) it prints a table and writes one contact sheet a recipe.
"""

import argparse
import json
import multiprocessing
import os
import queue
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import yaml

METRICS = ("category", "colour", "accessory", "view", "view_exact", "multi_face")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1, help="processes a GPU")
    parser.add_argument("--minutes", type=float, default=1e9, help="take no new job after this")
    parser.add_argument("--only", nargs="*", help="names of recipes")
    arguments = parser.parse_args()

    began = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(yaml.safe_load(arguments.file.read_text()), arguments.only)
    done = {_key(result) for result in _results(arguments.out)}
    jobs = [job for job in jobs if _key(job) not in done]
    _run_all(jobs, arguments.out, arguments.workers, began + 60 * arguments.minutes)
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
            values = [r["metrics"][metric] for r in mine if r["metrics"].get(metric) is not None]
            cells.append(f"{sum(values) / len(values):.3f}" if values else "-")
        cells.append(f"{sum(r['seconds'] for r in mine) / len(mine):.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _jobs(search: dict[str, Any], only: list[str] | None) -> list[dict[str, Any]]:
    return [
        {"recipe": name, "set": overrides or [], "prompt": prompt, "seed": seed}
        for name, overrides in search["recipes"].items()
        if not only or name in only
        for seed in search["seeds"]
        for prompt in search["prompts"]
    ]


def _key(job: dict[str, Any]) -> tuple[str, str, int]:
    return job["recipe"], job["prompt"], job["seed"]


def _results(out: Path) -> list[dict[str, Any]]:
    file = out / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _run_all(jobs: list[dict[str, Any]], out: Path, workers: int, deadline: float) -> None:
    import torch

    names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(
        map(str, range(max(1, torch.cuda.device_count())))
    )
    gpus = names.split(",")
    context = multiprocessing.get_context("spawn")
    todo, finished = context.Queue(), context.Queue()
    for job in jobs:
        todo.put(job)
    processes = [
        context.Process(target=_work, args=(gpus[index % len(gpus)], todo, finished, out, deadline))
        for index in range(min(workers * len(gpus), len(jobs)))
    ]
    for process in processes:
        process.start()
    with open(out / "results.jsonl", "a") as log:
        while any(process.is_alive() for process in processes) or not finished.empty():
            try:
                result = finished.get(timeout=1.0)
            except queue.Empty:
                continue
            log.write(json.dumps(result) + "\n")
            log.flush()


def _work(gpu: str, todo: Any, finished: Any, out: Path, deadline: float) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    while time.monotonic() < deadline:
        try:
            job = todo.get(timeout=2.0)
        except queue.Empty:
            return
        try:
            finished.put(_dream(job, out))
        except Exception:
            print(job, traceback.format_exc(), flush=True)


def _dream(job: dict[str, Any], out: Path) -> dict[str, Any]:
    """Both stages, the judge's scores after each, and a strip of eight views after each."""
    from stabledreamer_core.config import load_config
    from stabledreamer_core.metrics import evaluate
    from stabledreamer_core.stage import pick_device, run_stage

    config = load_config(overrides=job["set"])
    device = pick_device(config.device)
    splats, result = None, {**job, "seconds": 0.0}
    with tempfile.TemporaryDirectory() as work:
        for number in (1, 2):
            stage = (config.stage1, config.stage2)[number - 1]
            if number == 2 and stage.iterations == 0:
                break
            finished = run_stage(
                config, number, job["prompt"], job["seed"], Path(work) / str(number), splats
            )
            splats = finished.splats
            result["seconds"] += finished.record["seconds"]
            scores = evaluate(splats, job["prompt"], config.evaluate, device)
            result |= {"metrics": scores, f"metrics{number}": scores}
            result[f"peak_memory_bytes{number}"] = finished.record["peak_memory_bytes"]
            _write_strip(splats, out / _strip_name(job, number), device)
    return result


def _strip_name(job: dict[str, Any], number: int) -> str:
    slug = "-".join(job["prompt"].split()[1:])
    return f"strips/{job['recipe']}/{slug}-s{job['seed']}-{number}.png"


def _write_strip(splats: Any, path: Path, device: Any) -> None:
    import imageio.v3 as imageio
    import torch

    from stabledreamer_core.cameras import around
    from stabledreamer_core.rendering import render_chunks, to_bytes

    views = around(8, 15.0, 3.2, 40.0, 96)
    renders = torch.cat([r for r, _ in render_chunks(splats, views, (0.6, 0.6, 0.6), device)])
    strip = to_bytes(renders).permute(1, 0, 2, 3).reshape(96, 8 * 96, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(path, strip.cpu().numpy())


def _sheets(results: list[dict[str, Any]], out: Path) -> None:
    """One picture a recipe: a row a prompt (first seed), after stage 1 beside after stage 2."""
    import imageio.v3 as imageio
    import numpy as np

    for recipe in dict.fromkeys(result["recipe"] for result in results):
        rows = []
        for result in results:
            if result["recipe"] != recipe or result["seed"] != results[0]["seed"]:
                continue
            strips = [out / _strip_name(result, number) for number in (1, 2)]
            rows.append(np.hstack([imageio.imread(path) for path in strips if path.exists()]))
        if rows:
            imageio.imwrite(out / f"sheet-{recipe}.png", np.vstack(rows))


if __name__ == "__main__":
    main()
