"""The table of a suite: meshes and true geometry for kept assets, means, and spread over seeds.

    python -m benchmarks.search.make_assets benchmarks/claims/toybox_suite.yaml --out outputs/suite
    python -m benchmarks.claims.suite_table outputs/suite

The first command may run on a machine with a GPU and without open3d. The second one scores every
kept asset, makes its mesh and measures it against the true one, appends a line an asset to
measured.jsonl (and measures none twice, unless the asset, the settings or the code of measuring
have changed), and prints a Markdown table a recipe: mean over assets, standard deviation over the
seeds of their means, and the median. Most of its time goes to looking at the Gaussians for the
mesh, which a GPU does best; the rest is the CPU's, so `--workers` pays up to the number of cores.
"""

import argparse
import hashlib
import json
import multiprocessing
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import torch

from benchmarks.search.results import (
    Result,
    name_of,
    read_results,
    recipe_config,
    result_name,
    write_results,
)
from benchmarks.search.scores import doubt, haze, outline
from stabledreamer_core.assets.mesh.extract import write_mesh
from stabledreamer_core.assets.splats.ply import load_ply
from tasks.keys import MESH, STAGE2, step_key
from toybox.metrics.evaluate import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--measured", type=Path, help="default: OUT/measured.jsonl")
    parser.add_argument(
        "--stage1", action="store_true", help="also after stage 1, where both were kept: RECIPE-1"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments = parser.parse_args()
    out = arguments.out
    file = arguments.measured or out / "measured.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    todo = unmeasured(out, file, arguments.stage1)
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    with (
        ProcessPoolExecutor(arguments.workers, context) as pool,
        open(file, "a") as log,
    ):
        for measured in pool.map(_measure, [(out, result, arguments.device) for result in todo]):
            log.write(json.dumps(measured) + "\n")
            log.flush()
    print(table(read_results(file)))


def unmeasured(out: Path, file: Path, stage1: bool = False) -> list[Result]:
    """The results without a measurement, each with its key; one under another key is dropped.

    Args:
        stage1: an asset of two stages counts twice, after the first as one of the recipe RECIPE-1.
    """
    results = read_results(out / "results.jsonl")
    for result in results:
        result["ply"] = result_name(result, "plys", f"-{_stages(tuple(result['set']))}.ply")
    if stage1:
        results += [early for result in results for early in _after_stage1(out, result)]
    for result in results:
        made = f"{result.get('key')} {_measuring(tuple(result['set']))}"
        result["measured_key"] = hashlib.sha256(made.encode()).hexdigest()
    keys = {name_of(result): result["measured_key"] for result in results}
    measured = read_results(file)
    kept = [one for one in measured if keys.get(name_of(one)) == one.get("measured_key")]
    if len(kept) < len(measured):
        write_results(file, kept)
    done = {name_of(one) for one in kept}
    return [result for result in results if name_of(result) not in done]


@cache
def _stages(settings: tuple[str, ...]) -> int:
    return 2 if recipe_config(list(settings)).stage2.iterations else 1


def _after_stage1(out: Path, result: Result) -> list[Result]:
    """The asset as stage 1 left it; none where it was not kept or is the last."""
    ply = result_name(result, "plys", "-1.ply")
    if ply == result["ply"] or not (out / ply).exists():
        return []
    return [{**result, "recipe": f"{result['recipe']}-1", "ply": ply}]


@cache
def _measuring(settings: tuple[str, ...]) -> str:
    """Hash of the settings, models and code that meshes and metrics depend on."""
    config, files = recipe_config(list(settings)), dict.fromkeys((STAGE2, MESH), "")
    return " ".join(step_key(step, config, "", 0, files) for step in ("mesh", "evaluate"))


def table(results: list[Result]) -> str:
    """Markdown: a row a metric, for each recipe its mean, spread over seeds, and worst asset."""
    lines = []
    for recipe in dict.fromkeys(result["recipe"] for result in results):
        mine = [result for result in results if result["recipe"] == recipe]
        seeds = sorted({result["seed"] for result in mine})
        lines += [f"\n{recipe}: {len(mine)} assets, seeds {seeds}\n"]
        lines += [
            "| metric | mean | spread over seeds | median | assets |",
            "|---|---|---|---|---|",
        ]
        for metric in mine[0]["metrics"]:
            by_seed = [_values([r for r in mine if r["seed"] == seed], metric) for seed in seeds]
            values = [value for group in by_seed for value in group]
            if not values:
                continue
            means = [statistics.mean(group) for group in by_seed if group]
            spread = f"{statistics.stdev(means):.4f}" if len(means) > 1 else "-"
            row = (metric, f"{statistics.mean(values):.4f}", spread)
            lines.append(
                "| "
                + " | ".join((*row, f"{statistics.median(values):.4f}", str(len(values))))
                + " |"
            )
    return "\n".join(lines)


def _measure(job: tuple[Path, Result, str]) -> Result:
    """The result with all metrics, those that need a mesh included."""
    out, result, where = job
    torch.set_num_threads(1)
    if where == "auto":
        where = "cuda" if torch.cuda.is_available() else "cpu"
    config, device = recipe_config(result["set"]), torch.device(where)
    splats = load_ply(out / result["ply"])
    with tempfile.TemporaryDirectory() as folder:
        mesh = Path(folder) / "mesh.glb"
        write_mesh(splats, config.mesh.shape(), mesh, device)
        figures = evaluate(splats, result["prompt"], config.evaluate, device, mesh)
        figures["doubt"] = doubt(splats, result["prompt"], config, device)
        figures["haze"] = haze(splats, config, device)
        figures |= outline(splats, result["prompt"], config, device)
    return {**result, "metrics": result.get("metrics", {}) | figures}


def _values(results: list[Result], metric: str) -> list[float]:
    return [r["metrics"][metric] for r in results if r["metrics"].get(metric) is not None]


if __name__ == "__main__":
    main()
