"""Our stage loop beside those of threestudio-3dgs, GaussianDreamer and DreamGaussian.

    python -m benchmarks.speed.peers [--gaussians 4096 50000] [--acceleration graphs compile]
    python -m benchmarks.speed.peers --table                  # metrics/peers_speed.csv as Markdown

Stable Diffusion 2.1's architecture with random weights in half precision, 512 pixels, 4 views with
guidance, the same Gaussians, one process. peer_loops.py says what each peer's step is, and where in
its sources. All take turns: a round times each once, and `ms` is the median over the rounds.
`ratio` is the fastest peer's time to this one's. Rows are appended to OUT/peers_speed.csv.
"""

import argparse
import csv
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed import rehearsal
from benchmarks.speed.architectures import build, find_class, read
from benchmarks.speed.networks_alone import wait
from benchmarks.speed.peer_loops import PEERS
from benchmarks.speed.peer_scene import Guide
from benchmarks.speed.random_pipeline import random_weights, write_folder
from stabledreamer.runtime.root import ROOT
from stabledreamer_core.memory import peak_memory_bytes
from stabledreamer_core.optimization.stage import pick_device
from stabledreamer_core.priors import load_prior
from stabledreamer_core.priors.acceleration import keep_compiled
from stabledreamer_core.scene.gaussians import Splats, init_ball
from stabledreamer_core.seeds import generator

ROWS = ROOT / "metrics/peers_speed.csv"
OURS = "StableDreamer"
WARM_UP = 3  # steps of a peer that are not counted
COLUMNS = ["loop", "card", "torch", "gaussians", "views", "resolution"]
COLUMNS += ["ms", "iterations_s", "peak_gb", "ratio"]
Row = dict[str, Any]


def compare(
    pipeline: str, count: int, steps: int, rounds: int, accelerations: list[Any], device: Any
) -> list[Row]:
    """Measure every loop with `count` Gaussians; a row each, with the ratio to the fastest peer."""
    splats = init_ball(count, 0.8, 0.02, 0.1, generator(0, "peers"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "prior"
        write_folder(pipeline, folder)
        with random_weights({folder: pipeline}):
            guide = make_guide(pipeline, folder, device)
            loops: dict[str, Callable[[], tuple[float, float]]] = {}
            for name in PEERS:
                loops[name] = peer_loop(name, guide, splats, steps, device)
            for how in accelerations:
                cache = Path(scratch) / "embeddings"
                loops[f"{OURS}, {how}"] = our_loop(folder, splats, steps, how, cache, device)
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
            for _ in range(rounds):
                for name, loop in loops.items():
                    found[name].append(loop())
                    print(f"{count} Gaussians, {name}: {found[name][-1][0]:.1f} ms", flush=True)
                    gc.collect()
                    if device.type == "cuda":
                        torch.cuda.empty_cache()
    times = {name: statistics.median(ms for ms, _ in pairs) for name, pairs in found.items()}
    fastest = min(times[name] for name in PEERS)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    about = {"card": card, "torch": torch.__version__, "gaussians": count}
    about |= {"views": rehearsal_views(), "resolution": guide.size}
    return [
        {"loop": name}
        | about
        | {
            "ms": round(ms, 2),
            "iterations_s": round(1e3 / ms, 2),
            "peak_gb": round(max(gb for _, gb in found[name]), 1),
            "ratio": round(fastest / ms, 2),
        }
        for name, ms in times.items()
    ]


def rehearsal_views() -> int:
    """Views a step, of the paper's second stage."""
    return rehearsal.load_config([rehearsal.PARAMS, rehearsal.PAPER]).stage2.views


def make_guide(pipeline: str, folder: Path, device: torch.device) -> Guide:
    """Return the networks that the peers share, and prompts as the text encoder makes them."""
    described = read()["pipelines"][pipeline]
    half = torch.float16 if device.type == "cuda" else torch.float32
    prior = load_prior(str(folder), dtype=str(half).removeprefix("torch."), device=device)
    embeddings = prior.embed([*(f"{rehearsal.PROMPT}, {word} view" for word in "abcd"), ""])
    return Guide(
        unet=build(described["components"]["unet"], device, half),
        vae=build(described["components"]["vae"], device, half),
        scheduler=find_class("DDIMScheduler").from_config(
            read()["schedulers"][described["scheduler"]]
        ),
        prompts=embeddings[:4].to(half),
        empty=embeddings[4:].to(half),
        size=prior.resolution,
    )


def peer_loop(
    name: str, guide: Guide, splats: Splats, steps: int, device: torch.device
) -> Callable[[], tuple[float, float]]:
    """Return what measures a peer: milliseconds a step, and the peak in GB."""

    def measure() -> tuple[float, float]:
        torch.manual_seed(0)
        np.random.seed(0)
        benchmark = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = name == "DreamGaussian"  # main.py:102
        _reset_peak(device)
        step = PEERS[name](guide, splats, rehearsal_views(), device)
        for number in range(WARM_UP):
            step(number)
        wait(device)
        began = time.perf_counter()
        for number in range(WARM_UP, WARM_UP + steps):
            step(number)
        wait(device)
        spent = time.perf_counter() - began
        torch.backends.cudnn.benchmark = benchmark
        return 1e3 * spent / steps, peak_memory_bytes(device) / 1e9

    return measure


def our_loop(
    folder: Path, splats: Splats, steps: int, how: Any, cache: Path, device: torch.device
) -> Callable[[], tuple[float, float]]:
    """Return what measures our stage loop, with the networks accelerated as `how` says."""
    dtype = "float16" if device.type == "cuda" else "float32"
    prior = load_prior(str(folder), dtype=dtype, device=device)
    config = rehearsal.stages_of(prior, device, how)
    size = config.stage2.density.model_copy(update={"start_count": len(splats["means"])})
    stage = config.stage2.model_copy(update={"density": size})
    config = config.model_copy(update={"stage2": stage})

    def measure() -> tuple[float, float]:
        others = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        clock = rehearsal.Clock(device)
        warm_up = rehearsal.WARM_UP if device.type == "cuda" else WARM_UP
        result = rehearsal.run(config, "stage2", warm_up + steps, splats, cache, clock)
        row = rehearsal.loop_row(result, clock, warm_up, stage, 1.0)
        return row["loop_ms"], (result.record["peak_memory_bytes"] - others) / 1e9

    return measure


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def table(file: Path) -> str:
    """Return the rows of a CSV file as Markdown."""
    if not file.exists():
        raise SystemExit(f"there are no rows yet: {file}")
    lines = [
        "| loop | Gaussians | ms a step | steps a second | peak, GB | times the fastest peer |"
    ]
    lines.append("| --- " * 6 + "|")
    with open(file, newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            keys = ("loop", "gaussians", "ms", "iterations_s", "peak_gb", "ratio")
            lines.append(f"| {' | '.join(row[key] for key in keys)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipeline", default="sd21", help="of Stable Diffusion's class")
    parser.add_argument("--gaussians", type=int, nargs="+", default=[4096, 50000])
    parser.add_argument("--steps", type=int, default=40, help="of a round; a multiple of 10")
    parser.add_argument("--rounds", type=int, default=2)
    choices = ["auto", "none", "graphs", "compile"]
    parser.add_argument("--acceleration", nargs="+", default=["graphs", "compile"], choices=choices)
    parser.add_argument("--out", type=Path, default=Path("outputs/peers"))
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--table", action="store_true", help="print metrics/peers_speed.csv")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(ROWS))
        return
    keep_compiled(ROOT / ".cache/compiled")
    file = arguments.out / ROWS.name
    for count in arguments.gaussians:
        rows = compare(
            *(arguments.pipeline, count, arguments.steps, arguments.rounds),
            *(arguments.acceleration, pick_device(arguments.device)),
        )
        for row in rows:
            rehearsal.append(row, file, COLUMNS)
    print(table(file))


if __name__ == "__main__":
    main()
