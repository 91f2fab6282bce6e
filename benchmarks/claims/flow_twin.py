"""The flow twin: assets by the rectified flow against assets by the pixel prior, all else equal.

    python -m benchmarks.claims.flow_twin --out outputs/flow-twin             # on a GPU
    python -m benchmarks.claims.flow_twin --out outputs/flow-twin --meshes    # needs open3d
    python -m benchmarks.claims.flow_twin --out outputs/flow-twin --to metrics

The first makes the assets of the twelve test prompts and three seeds of gpu.yaml, with either prior
in stage 1, and judges them after each stage. The second makes their meshes and measures them, too,
here or elsewhere. Both add to OUT/results.jsonl and, started again, do what is missing. Each ends
with the paired comparison, which the third writes where it is published.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.claims import rows as source
from benchmarks.claims.tables import assets_csv, markdown, summarise
from benchmarks.search.results import read_results, result_name
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.files import atomic_write
from stabledreamer_core.optimization.stage import pick_device, run_stages
from stabledreamer_core.scene.gaussians import load_ply, save_ply
from stabledreamer_core.settings.config import STAGES
from toybox.metrics.evaluate import evaluate

PRIORS = {"pixel": "priors/toybox-if", "flow": "priors/toybox-flow"}
BEFORE = "-stage1"  # of a variant's name: the same assets before stage 2
CLAIMS = [
    {"claim": "the flow twin in stage 1, after both stages", "ours": "flow", "other": "pixel"},
    {"claim": "the same after stage 1", "ours": "flow" + BEFORE, "other": "pixel" + BEFORE},
]
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/flow-twin"))
    parser.add_argument("--count", type=int, default=12, help="the first so many prompts")
    parser.add_argument("--batch", type=int, default=18, help="assets optimised together")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--meshes", action="store_true", help="measure what has been made")
    parser.add_argument("--workers", type=int, default=2, help="processes that measure meshes")
    parser.add_argument("--to", type=Path, help="only write flow_twin.csv and .md there")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.to is None:
        for row in (measure if arguments.meshes else make)(arguments):
            with open(results_file(arguments), "a") as log:
                log.write(json.dumps(row) + "\n")
    publish(rows(arguments), arguments.to or arguments.out)


def make(arguments: argparse.Namespace) -> Iterator[Row]:
    """Both stages of what is missing, a batch with one prior and then the other."""
    asked = source.read_settings(source.GPU)
    jobs = [(p, seed) for seed in asked["seeds"] for p in asked["prompts"][: arguments.count]]
    for first in range(0, len(jobs), arguments.batch):
        for variant in PRIORS:
            done = {(row["prompt"], row["seed"]) for row in of(rows(arguments), variant)}
            todo = [job for job in jobs[first : first + arguments.batch] if job not in done]
            if todo:
                yield from _make_batch(arguments, variant, todo)


def _make_batch(
    arguments: argparse.Namespace, variant: str, jobs: list[tuple[str, int]]
) -> Iterator[Row]:
    config, scenes = _config(arguments, variant), None
    prompts, seeds = [prompt for prompt, _ in jobs], [seed for _, seed in jobs]
    for stage, suffix in zip(STAGES, (BEFORE, ""), strict=True):
        began = time.monotonic()
        places = {"base": ROOT, "cache_dir": EMBEDDINGS}
        made = run_stages(config, stage, prompts, seeds, scenes, **places)
        scenes, seconds = [one.splats for one in made], time.monotonic() - began
        print(f"{variant}, {stage}: {len(jobs)} assets in {seconds:.0f} s", flush=True)
        for splats, (prompt, seed) in zip(scenes, jobs, strict=True):
            row = {"variant": variant + suffix, "prompt": prompt, "seed": seed}
            file = _ply(arguments, row)
            file.parent.mkdir(parents=True, exist_ok=True)
            save_ply(splats, file)
            device = pick_device(config.device)
            metrics = evaluate(splats, prompt, config.evaluate, device)
            yield {**row, "metrics": metrics, "seconds": seconds / len(jobs)}


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Of every asset that both stages made, the figures that need a mesh, too."""
    made = [row for variant in PRIORS for row in of(rows(arguments), variant)]
    todo = [row for row in made if "meshed" not in row and _ply(arguments, row).exists()]
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    with ProcessPoolExecutor(arguments.workers, context) as pool:
        yield from pool.map(_measure, [(arguments, row) for row in todo])


def _measure(job: tuple[argparse.Namespace, Row]) -> Row:
    from stabledreamer_core.assets.mesh.extract import write_mesh  # needs open3d

    arguments, row = job
    torch.set_num_threads(1)
    config = _config(arguments, row["variant"])
    splats, device = load_ply(_ply(arguments, row)), pick_device(config.device)
    with tempfile.TemporaryDirectory() as folder:
        mesh = Path(folder) / "mesh.glb"
        write_mesh(splats, config.mesh, mesh, device)
        metrics = evaluate(splats, row["prompt"], config.evaluate, device, mesh)
    return {**row, "metrics": metrics, "meshed": True}


def publish(found: list[Row], folder: Path) -> None:
    """Every asset's figures and the paired comparison, in `folder`; prints the latter."""
    text = markdown(summarise(found, CLAIMS))
    for name, content in {"flow_twin.csv": assets_csv(found), "flow_twin.md": text}.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    print(text)


def results_file(arguments: argparse.Namespace) -> Path:
    """A line an asset and stage; of two for one, the later counts."""
    return Path(arguments.out) / "results.jsonl"


def rows(arguments: argparse.Namespace) -> list[Row]:
    """What has been measured so far."""
    found = read_results(results_file(arguments))
    return list({(row["variant"], row["prompt"], row["seed"]): row for row in found}.values())


def of(found: list[Row], variant: str) -> list[Row]:
    """A variant's rows."""
    return [row for row in found if row["variant"] == variant]


def _config(arguments: argparse.Namespace, variant: str) -> Any:
    return load_config(overrides=[f"stage1.prior={PRIORS[variant]}", *arguments.set])


def _ply(arguments: argparse.Namespace, row: Row) -> Path:
    return Path(arguments.out) / result_name({**row, "recipe": row["variant"]}, "plys", ".ply")


if __name__ == "__main__":
    main()
