"""Semi-transparent toys: Gaussians against a NeRF, where the truth is a radiance field.

    python -m toybox.training pixel --set jelly_density=3 --warm-start priors --out priors-jelly \\
        --work .cache/jelly --minutes 6 --later-minutes 0
    mkdir -p priors-jelly && cp -r priors/toybox-sd priors-jelly/
    python -m toybox.training latent --set jelly_density=3 --warm-start priors --out priors-jelly \\
        --work .cache/jelly --minutes 6 --later-minutes 0
    python -m benchmarks.claims.translucent --priors priors-jelly --density 3 --out outputs/jelly

The first three lines teach the bundled priors a world where every toy is of clear jelly
(toybox/translucent.py), with the same captions. The last makes assets with them, by our recipe and
with a NeRF (nerf_baseline.py), both with and without the opacity regulariser, which wants things
opaque, holds eight views of each against the true jelly toy, and prints a table. For
scale it has the true toy of another shape (`another`), which nobody could tell from the prompt, and
the same toy solid.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.claims.nerf_baseline import optimize
from benchmarks.claims.nerf_field import RadianceField
from benchmarks.claims.nerf_measure import nerf_camera
from benchmarks.claims.statistics import compare, describe
from flows.prompts_file import read_prompts
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.splats.ply import save_ply
from stabledreamer_core.optimization.stage import pick_device, run_stages
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import STAGES
from toybox.captions import parse
from toybox.catalogue import Toy
from toybox.metrics.pictures import (
    DISTANCE,
    Camera,
    Cutout,
    asset_camera,
    eight_azimuths,
    true_camera,
)
from toybox.scenes import toy_batch
from toybox.translucent import render_translucent

RESOLUTION = 128
SEEN = 0.02  # less alpha than this is background
CLEAR = ["stage1.regularizers.opacity=0", "stage2.regularizers.opacity=0"]
VARIANTS = {"gaussians": [], "gaussians, opacity regulariser off": CLEAR}
NERFS = {"nerf": [], "nerf, opacity regulariser off": CLEAR}
METRICS = ("alpha_error", "colour_error", "opacity")
Job = tuple[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--priors", type=Path, required=True)
    parser.add_argument("--density", type=float, required=True, help="of the jelly they know")
    parser.add_argument("--prompts", type=Path, default=Path("prompts/toybox.yaml"))
    parser.add_argument("--count", type=int, default=12, help="the first so many prompts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, default=1, help="NeRFs at once, on each GPU")
    parser.add_argument("--out", type=Path, default=Path("outputs/jelly"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    prompts = read_prompts(arguments.prompts)[0][: arguments.count]
    jobs = [(prompt, seed) for seed in arguments.seeds for prompt in prompts]
    for measure in (references, gaussians, nerfs):
        for found in measure(arguments, jobs):
            with open(results_file(arguments), "a") as log:
                log.write(json.dumps(found) + "\n")
    print(table(results(arguments)))


def results_file(arguments: argparse.Namespace) -> Path:
    """A line an asset; a run started again does what is missing."""
    return Path(arguments.out) / "results.jsonl"


def results(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What has been measured so far."""
    file = results_file(arguments)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def missing(arguments: argparse.Namespace, variant: str, jobs: list[Job]) -> list[Job]:
    """The jobs that have no result of this variant."""
    found = [
        (one["prompt"], one["seed"]) for one in results(arguments) if one["variant"] == variant
    ]
    return [job for job in jobs if job not in found]


def settings(arguments: argparse.Namespace, *more: str) -> Config:
    """The default settings with the given priors."""
    pixel, latent = (arguments.priors.absolute() / name for name in ("toybox-if", "toybox-sd"))
    own = [f"stage1.prior={pixel}", f"stage2.prior={latent}", *more, *arguments.set]
    return load_config(overrides=own)


def gaussians(arguments: argparse.Namespace, jobs: list[Job]) -> Iterator[dict[str, Any]]:
    """Every variant's assets, in one batch each."""
    for variant, overrides in VARIANTS.items():
        todo = missing(arguments, variant, jobs)
        if not todo:
            continue
        prompts, seeds = [prompt for prompt, _ in todo], [seed for _, seed in todo]
        config = settings(arguments, *overrides)
        scenes, began = None, time.monotonic()
        for name in STAGES:
            places = {"base": ROOT, "cache_dir": EMBEDDINGS}
            done = run_stages(config, name, prompts, seeds, scenes, **places)
            scenes = [stage.splats for stage in done]
        assert scenes is not None
        seconds = (time.monotonic() - began) / len(todo)
        for (prompt, seed), splats in zip(todo, scenes, strict=True):
            name = f"{prompt} {seed} {variant}.ply".replace(" ", "-").replace(",", "")
            save_ply(splats, arguments.out / name)
            camera = asset_camera(splats, config.evaluate.elevation_deg, pick_device(config.device))
            yield row(variant, prompt, seed, arguments.density, camera, seconds)


def nerfs(arguments: argparse.Namespace, jobs: list[Job]) -> Iterator[dict[str, Any]]:
    """A NeRF of every variant for each, some at once on every GPU."""
    gpus = max(1, torch.cuda.device_count())
    context = multiprocessing.get_context("spawn")
    turns = context.Queue()
    for turn in range(gpus * arguments.workers):
        turns.put(turn % gpus)
    todo = [
        (arguments, variant, *job) for variant in NERFS for job in missing(arguments, variant, jobs)
    ]
    with context.Pool(gpus * arguments.workers, _take_gpu, (turns,)) as pool:
        yield from pool.imap_unordered(_nerf, todo)


def _take_gpu(turns: Any) -> None:
    """Show this process one GPU; CUDA reads that when it is first used."""
    os.environ["CUDA_VISIBLE_DEVICES"] = str(turns.get())


def _nerf(job: tuple[argparse.Namespace, str, str, int]) -> dict[str, Any]:
    arguments, variant, prompt, seed = job
    config = settings(arguments, *NERFS[variant])
    device = pick_device(config.device)
    field = RadianceField(generator(seed, "nerf")).to(device)
    began = time.monotonic()
    for number, stage in ((1, config.stage1), (2, config.stage2)):
        optimize(stage, field, prompt, seed, number, device)
    seconds = time.monotonic() - began
    camera = nerf_camera(field, config.evaluate.elevation_deg, device)
    return row(variant, prompt, seed, arguments.density, camera, seconds)


def references(arguments: argparse.Namespace, jobs: list[Job]) -> Iterator[dict[str, Any]]:
    """What another shape of the toy would get, and the toy of this shape if it were solid."""
    elevation_deg = settings(arguments).evaluate.elevation_deg
    for prompt, seed in missing(arguments, "solid", jobs):
        toy, density = _toy(prompt), arguments.density
        another = jelly_camera(toy, density, elevation_deg, variation_seed=1 + seed)
        yield row("another", prompt, seed, density, another, 0.0)
        yield row("solid", prompt, seed, density, true_camera(toy, elevation_deg), 0.0)


def row(
    variant: str, prompt: str, seed: int, density: float, camera: Camera, seconds: float
) -> dict[str, Any]:
    """An asset's figures, as statistics.py takes them."""
    truth = jelly_camera(_toy(prompt), density, load_config().evaluate.elevation_deg)
    pictures = (take(eight_azimuths(), RESOLUTION).cpu() for take in (camera, truth))
    figures = against(*pictures)
    return {
        "variant": variant,
        "prompt": prompt,
        "seed": seed,
        "metrics": figures,
        "seconds": seconds,
    }


def against(shown: Cutout, true: Cutout) -> dict[str, float]:
    """Mean absolute differences over the pixels where either picture shows anything.

    alpha_error: of alpha. colour_error: of the colour on black, mean over channels. opacity: the
    sum of alpha as a share of the truth's, so above 1 for what is too opaque (or too large).
    """
    seen = (shown.alpha > SEEN) | (true.alpha > SEEN)
    colour = (shown.colour - true.colour).abs().mean(1, keepdim=True)
    return {
        "alpha_error": float((shown.alpha - true.alpha).abs()[seen].mean()),
        "colour_error": float(colour[seen].mean()),
        "opacity": float(shown.alpha.sum() / true.alpha.sum()),
    }


def jelly_camera(
    toy: Toy, density: float, elevation_deg: float, variation_seed: int | None = None
) -> Camera:
    """Takes pictures of the true jelly toy, on the CPU."""

    def take(azimuth_deg: Tensor, resolution: int) -> Cutout:
        count = len(azimuth_deg)
        level, distance = torch.full((count,), elevation_deg), torch.full((count,), DISTANCE)
        black = torch.zeros(count, 3)
        scenes = toy_batch(toy, azimuth_deg, level, distance, black, variation_seed)
        renders = render_translucent(scenes, resolution, density)
        return Cutout(renders.images, renders.alpha)

    return take


def table(rows: list[dict[str, Any]]) -> str:
    """Means over prompts with their spread, and p of the paired test against the NeRF alike."""
    alike = dict(zip(VARIANTS, NERFS, strict=True))
    lines = [f"| | {' | '.join(METRICS)} |", "|---" * (1 + len(METRICS)) + "|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        cells = [variant]
        for metric in METRICS:
            found = describe(rows, variant, metric)
            assert found is not None
            cell = f"{found['mean']:.3f} ± {found['spread'] or 0.0:.3f}"
            nerf = alike.get(variant)
            if nerf and (paired := compare(rows, variant, nerf, metric)):
                cell += f" (p {paired['p']:.4f})"
            cells.append(cell)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _toy(prompt: str) -> Toy:
    toy = parse(prompt).toy
    assert toy is not None, prompt
    return toy


if __name__ == "__main__":
    main()
