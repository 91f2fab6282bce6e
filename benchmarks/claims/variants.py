"""Assets by named variants of the settings, judged and compared in pairs.

    python -m benchmarks.claims.variants NAME --out outputs/NAME             # on a GPU
    python -m benchmarks.claims.variants NAME --out outputs/NAME --meshes    # needs open3d
    python -m benchmarks.claims.variants NAME --out outputs/NAME --to metrics

NAME is flow_twin, economy, or a YAML file like theirs. The first command makes the assets of the
twelve test prompts and three seeds of gpu.yaml by each variant, and judges them. The second makes
their meshes and measures them, too, here or elsewhere. Both add to OUT/results.jsonl and, started
again, do what is missing. Each ends with the paired comparison, which the third writes where it is
published.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import torch

from benchmarks.claims import cost_table, tables
from benchmarks.claims import rows as source
from benchmarks.claims.campaign import BEFORE, Campaign, read_campaign
from benchmarks.search.results import read_results, result_name
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer_core.assets.splats.ply import load_ply, save_ply
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.optimization.stage import pick_device, run_stages
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import STAGES
from toybox.judge_views import stage_classifier
from toybox.metrics.evaluate import evaluate

WARM_UP = [f"{stage}.iterations=24" for stage in STAGES]  # kernels compile, memory is taken
Row = dict[str, Any]
Job = tuple[str, int]  # prompt, seed
Map = Callable[[Callable[..., Row], list[Any]], Iterator[Row]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("name", help="flow_twin, economy, or a YAML file")
    parser.add_argument("--out", type=Path, help="outputs/NAME where left out")
    parser.add_argument("--count", type=int, default=12, help="the first so many prompts")
    parser.add_argument("--batch", type=int, help="assets optimised together")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="make these alone")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--meshes", action="store_true", help="measure what has been made")
    parser.add_argument("--workers", type=int, default=2, help="processes that measure; 0: none")
    parser.add_argument("--to", type=Path, help="only write NAME.csv and .md there")
    arguments = parser.parse_args()
    try:
        run(arguments)
    except UserError as error:
        sys.exit(f"variants: {error}")


def run(arguments: argparse.Namespace) -> None:
    """What the command line asks for.

    Raises:
        UserError: the file, or an option, is wrong.
    """
    name, campaign = read_campaign(arguments.name)
    out = arguments.out or Path("outputs") / name.replace("_", "-")
    wanted = list(campaign.variants) if arguments.only is None else arguments.only
    for variant in wanted:
        if variant not in campaign.variants:
            raise UserError(
                f"--only {variant}: {name} has no such variant, but {', '.join(campaign.variants)}"
            )
    out.mkdir(parents=True, exist_ok=True)
    if arguments.to is None:
        with _pool(arguments.workers) as spread:
            todo = measure if arguments.meshes else make
            for row in todo(campaign, arguments, out, wanted, spread):
                add(out, row)
    publish(rows(out), name, campaign, arguments.to or out)


def make(
    campaign: Campaign, arguments: argparse.Namespace, out: Path, wanted: list[str], spread: Map
) -> Iterator[Row]:
    """Both stages of what is missing, a batch by every variant and then the next batch."""
    asked = source.read_settings(source.GPU)
    jobs = [(p, seed) for seed in asked["seeds"] for p in asked["prompts"][: arguments.count]]
    size, warm = arguments.batch or campaign.batch, not campaign.cost
    for first in range(0, len(jobs), size):
        for variant in wanted:
            done = {(row["prompt"], row["seed"]) for row in of(rows(out), variant)}
            todo = [job for job in jobs[first : first + size] if job not in done]
            if todo and not warm:
                list(optimise(campaign.config(variant, [*arguments.set, *WARM_UP]), todo))
                warm = True
            if todo:
                config = campaign.config(variant, arguments.set)
                yield from _make_batch(campaign, config, variant, todo, out, spread)


def optimise(config: Config, jobs: list[Job]) -> Iterator[tuple[str, list[Any], float]]:
    """Run each stage: its name, the Gaussians of every job, and its seconds."""
    scenes = None
    prompts, seeds = [prompt for prompt, _ in jobs], [seed for _, seed in jobs]
    for stage in STAGES:
        began = time.monotonic()
        classify = stage_classifier(config, stage)
        places = {"base": ROOT, "cache_dir": EMBEDDINGS, "classify": classify}
        made = run_stages(config, stage, prompts, seeds, scenes, **places)
        scenes = [one.splats for one in made]
        yield stage, scenes, time.monotonic() - began


def _make_batch(
    campaign: Campaign, config: Config, variant: str, jobs: list[Job], out: Path, spread: Map
) -> Iterator[Row]:
    """A batch's rows: those of an earlier stage once they are judged, then those of the last."""
    stages: dict[str, float] = {}
    for stage, scenes, seconds in optimise(config, jobs):
        print(f"{variant}, {stage}: {len(jobs)} assets in {seconds:.1f} s", flush=True)
        stages[stage] = seconds / len(jobs)
        if stage not in campaign.judged:
            continue
        shared = {
            "variant": variant + ("" if stage == STAGES[-1] else BEFORE),
            **{"seconds": stages[stage], "stages": dict(stages), "batch": len(jobs)},
            "device": _device_name(config),
        }
        made = [{**shared, "prompt": prompt, "seed": seed} for prompt, seed in jobs]
        for splats, row in zip(scenes, made, strict=True):
            _ply(out, row).parent.mkdir(parents=True, exist_ok=True)
            save_ply(splats, _ply(out, row))
        began = time.monotonic()
        found = spread(_judge, [(config, out, row, campaign.cost) for row in made])
        # Seconds compare between whole batches alone, so a cut one leaves no rows.
        yield from list(found) if campaign.cost else found
        print(f"{variant}, {stage}: judged in {time.monotonic() - began:.1f} s", flush=True)


def _judge(job: tuple[Config, Path, Row, bool]) -> Row:
    config, out, row, depth = job
    splats, device = load_ply(_ply(out, row)), pick_device(config.device)
    metrics = evaluate(splats, row["prompt"], config.evaluate, device)
    if depth:
        from benchmarks.claims.depth_chamfer import NAME, depth_chamfer

        as_published = config.mesh.model_copy(update={"views": 96, "view_resolution": 256})
        metrics[NAME] = depth_chamfer(splats, row["prompt"], as_published, device)
    return {**row, "metrics": metrics}


def measure(
    campaign: Campaign, arguments: argparse.Namespace, out: Path, wanted: list[str], spread: Map
) -> Iterator[Row]:
    """Of every asset that both stages made, the figures that need a mesh, too."""
    made = [row for variant in wanted for row in of(rows(out), variant)]
    todo = [row for row in made if "meshed" not in row and _ply(out, row).exists()]
    jobs = [(campaign.config(row["variant"], arguments.set), out, row) for row in todo]
    return spread(_measure, jobs)


def _measure(job: tuple[Config, Path, Row]) -> Row:
    from stabledreamer_core.assets.mesh.extract import write_mesh  # needs open3d

    config, out, row = job
    splats, device = load_ply(_ply(out, row)), pick_device(config.device)
    with tempfile.TemporaryDirectory() as folder:
        mesh = Path(folder) / "mesh.glb"
        write_mesh(splats, config.mesh.shape(), mesh, device)
        metrics = evaluate(splats, row["prompt"], config.evaluate, device, mesh)
    return {**row, "metrics": row["metrics"] | metrics, "meshed": True}


@contextmanager
def _pool(workers: int) -> Iterator[Map]:
    """A `map` over so many processes of one thread each, or here."""
    if workers == 0:
        yield lambda work, jobs: map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    with ProcessPoolExecutor(workers, context, initializer=_one_thread) as pool:
        yield lambda work, jobs: pool.map(work, jobs)


def _one_thread() -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)


def publish(found: list[Row], name: str, campaign: Campaign, folder: Path) -> None:
    """Every asset's figures and the paired comparison, in `folder`; prints the latter."""
    claims = [claim.model_dump() for claim in campaign.claims]
    if campaign.cost:
        text, table = cost_table.markdown(found, claims), cost_table.assets_csv(found)
    else:
        text, table = tables.markdown(tables.summarise(found, claims)), tables.assets_csv(found)
    for file, content in {f"{name}.csv": table, f"{name}.md": text}.items():
        with atomic_write(folder / file) as temporary:
            temporary.write_text(content, encoding="utf-8")
    print(text)


def add(out: Path, row: Row) -> None:
    """Append a line at once, as two GPUs' processes may write to one file."""
    with open(out / "results.jsonl", "ab", buffering=0) as log:
        log.write((json.dumps(row) + "\n").encode())


def rows(out: Path) -> list[Row]:
    """What has been measured so far; of two lines for one asset and stage, the later counts."""
    found = read_results(out / "results.jsonl")
    return list({(row["variant"], row["prompt"], row["seed"]): row for row in found}.values())


def of(found: list[Row], variant: str) -> list[Row]:
    """A variant's rows."""
    return [row for row in found if row["variant"] == variant]


def _device_name(config: Config) -> str:
    device = pick_device(config.device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _ply(out: Path, row: Row) -> Path:
    return out / result_name({**row, "recipe": row["variant"]}, "plys", ".ply")


if __name__ == "__main__":
    main()
