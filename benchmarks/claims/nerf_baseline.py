"""The same two stages, priors, loss and prior calls with a NeRF in place of the Gaussians.

    python -m benchmarks.claims.nerf_baseline --prompts prompts/toybox.yaml --count 12 \\
        --seeds 0 1 2 --out outputs/nerf --workers 6
    python -m benchmarks.claims.nerf_baseline --speed outputs/suite/plys/default/<asset>-2.ply
    python -m benchmarks.claims.nerf_baseline --memory

The first makes and scores assets (results.jsonl, as benchmarks/search/recipe_search.py writes it).
The second prints frames a second of both representations at 512x512, a view at a time; the third
the GPU memory that optimising one asset takes with each, the prior included. Both side by side.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.claims.nerf_field import RadianceField, render
from flows.prompts_file import read_prompts
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.distillation.loss import l2_loss
from stabledreamer_core.distillation.loss_space import (
    target_in_loss_space,
    to_loss_space,
    to_prior_space,
)
from stabledreamer_core.distillation.sample_step import draw_noise, draw_target
from stabledreamer_core.distillation.view_prompts import view_index, view_prompts
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.loop import denoise
from stabledreamer_core.optimization.stage import pick_device, run_stages
from stabledreamer_core.priors import load_prior
from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene.cameras import Views, orbit
from stabledreamer_core.scene.gaussians import Splats, load_ply
from stabledreamer_core.scene.regularizers import leakage, opacity
from stabledreamer_core.scene.rendering import drawable
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import STAGES, Config, Stage, with_overrides
from toybox.metrics.evaluate import evaluate_views
from toybox.metrics.pictures import DISTANCE, FOV_DEG, Camera, Cutout

SAMPLES = 64
GRID_RATE, NETWORK_RATE = 1e-2, 1e-3  # of stage 1; stage 2 has a tenth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--prompts", type=Path, default=Path("prompts/toybox.yaml"))
    parser.add_argument("--count", type=int, default=12, help="the first so many prompts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("outputs/nerf"))
    parser.add_argument("--workers", type=int, default=1, help="processes a GPU")
    parser.add_argument("--speed", type=Path, metavar="PLY", help="measure rendering alone")
    parser.add_argument("--memory", action="store_true", help="measure memory alone")
    arguments = parser.parse_args()
    if arguments.speed:
        print(json.dumps(speed(arguments.speed, pick_device("auto")), indent=2))
        return
    if arguments.memory:
        try:
            print(json.dumps(memory(load_config(overrides=arguments.set)), indent=2))
        except UserError as error:
            raise SystemExit(f"error: {error}") from None
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    prompts = read_prompts(arguments.prompts)[0][: arguments.count]
    jobs = [(prompt, seed) for seed in arguments.seeds for prompt in prompts]
    gpus = max(1, torch.cuda.device_count())
    context = multiprocessing.get_context("spawn")
    parts = [jobs[index :: gpus * arguments.workers] for index in range(gpus * arguments.workers)]
    processes = [
        context.Process(target=_work, args=(index % gpus, part, arguments.set, arguments.out))
        for index, part in enumerate(parts)
        if part
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def dream(config: Config, prompt: str, seed: int, device: torch.device) -> dict[str, Any]:
    """Both stages for one prompt; the scores, the seconds and the peak memory."""
    field = RadianceField(generator(seed, "nerf")).to(device)
    result: dict[str, Any] = {"recipe": "nerf", "prompt": prompt, "seed": seed, "seconds": 0.0}
    for number, stage in ((1, config.stage1), (2, config.stage2)):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        began = time.monotonic()
        optimize(stage, field, prompt, seed, number, device)
        result["seconds"] += time.monotonic() - began
        if device.type == "cuda":
            result[f"peak_memory_bytes{number}"] = torch.cuda.max_memory_allocated(device)
        camera = nerf_camera(field, config.evaluate.elevation_deg, device)
        result["metrics"] = evaluate_views(camera, prompt, config.evaluate, device)
        result[f"metrics{number}"] = result["metrics"]
    return result


def optimize(
    stage: Stage, field: RadianceField, prompt: str, seed: int, number: int, device: torch.device
) -> None:
    """The stage loop of stabledreamer_core/optimization/loop.py, without density control."""
    prior = load_prior(stage.prior, dtype=stage.dtype, device=device, base=ROOT)
    embeddings = prior.embed([*view_prompts(prompt, stage.view_words), ""])
    rate = 1.0 if number == 1 else 0.1
    networks = [*field.hidden.parameters(), *field.out.parameters()]
    optimizer = torch.optim.Adam(
        [
            {"params": list(field.grids.parameters()), "lr": rate * GRID_RATE},
            {"params": networks, "lr": rate * NETWORK_RATE},
        ],
        betas=stage.adam_betas,
        eps=1e-15,
    )
    name, target = f"nerf{number}", None
    for step in range(stage.iterations):
        if target is None or step % stage.target_reuse == 0:
            target = draw_target(stage, prior.alphas_cumprod, step, [seed], name)
        jitter = torch.Generator(device).manual_seed(1_000_003 * seed + step)
        painted, alphas, _ = render(field, target.views, SAMPLES, jitter)
        colors = painted + (1.0 - alphas) * target.backgrounds[:, None, None]
        images = F.avg_pool2d(colors.permute(0, 3, 1, 2), stage.supersampling)
        x = to_loss_space(stage, prior, images)
        if target.x0_hat is None:
            places = zip(target.views.azimuth_deg, target.views.elevation_deg, strict=True)
            rows = [view_index(float(a), float(e), stage.view_words) for a, e in places]
            z = to_prior_space(stage, prior, images, x)
            noise = draw_noise(z, step, [seed], name)
            prompts = embeddings[rows], embeddings[-1:]
            x0_hat = denoise(stage, prior, z, noise, target.timesteps, *prompts)
            target.x0_hat = target_in_loss_space(stage, prior, images, z, x0_hat)
        loss = l2_loss(x, target.x0_hat, target.weight).sum() / x.numel()
        loss = loss + stage.regularizers.opacity * opacity(alphas)
        loss = loss + stage.regularizers.leakage * leakage(alphas)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def nerf_camera(field: RadianceField, elevation_deg: float, device: torch.device) -> Camera:
    """Takes the pictures that metrics look at."""

    def take(azimuth_deg: Tensor, resolution: int) -> Cutout:
        level = torch.full_like(azimuth_deg, elevation_deg)
        views = orbit(azimuth_deg, level, DISTANCE, FOV_DEG, resolution).to(device)
        shots = [_shoot(field, views, index) for index in range(len(azimuth_deg))]
        colour, alpha = (torch.cat(part).movedim(-1, 1) for part in zip(*shots, strict=True))
        return Cutout(colour, alpha)

    return take


def speed(ply: Path, device: torch.device, rounds: int = 5) -> dict[str, float]:
    """Frames a second at 512x512 of an asset's Gaussians and of a NeRF, in turns; their ratio.

    Both draw one view at a time. A NeRF's cost does not depend on what it shows: an untrained one
    stands for all.
    """
    splats, field = load_ply(ply), RadianceField(generator(0, "nerf")).to(device)
    scene = drawable(splats, device)
    azimuth_deg = torch.arange(24) * 15.0
    views = orbit(azimuth_deg, torch.full_like(azimuth_deg, 15.0), DISTANCE, FOV_DEG, 512)
    views = views.to(device)
    best = {"gaussians": 0.0, "nerf": 0.0}
    for _ in range(rounds + 1):
        for what in best:
            frames = 4 if device.type == "cpu" else len(azimuth_deg)
            began = time.monotonic()
            for index in range(frames):
                if what == "gaussians":
                    _draw(scene, _one(views, index))
                else:
                    _shoot(field, views, index)
            if device.type == "cuda":
                torch.cuda.synchronize()
            best[what] = max(best[what], frames / (time.monotonic() - began))
    return {
        **best,
        "ratio": best["gaussians"] / best["nerf"],
        "gaussians_count": len(splats["means"]),
    }


def memory(config: Config, iterations: int = 12) -> dict[str, dict[str, int]]:
    """Peak bytes of each stage of one asset, with Gaussians and with a NeRF, prior included.

    Raises:
        UserError: there is no GPU, whose allocator does the counting.
    """
    device = pick_device(config.device)
    if device.type != "cuda":
        raise UserError("--memory counts what a GPU's allocator hands out, and there is no GPU")
    few = [f"stage1.iterations={iterations}", f"stage2.iterations={iterations}"]
    config = with_overrides(config, few)
    prompt, scenes, peaks = "a red bear", None, {}
    for name in STAGES:
        (stage,) = run_stages(config, name, [prompt], [0], scenes, base=ROOT)
        scenes = [stage.splats]
        peaks[name] = stage.record["peak_memory_bytes"]
    torch.cuda.empty_cache()
    nerf = dream(config, prompt, 0, device)
    return {
        "gaussians": peaks,
        "nerf": {f"stage{number}": nerf[f"peak_memory_bytes{number}"] for number in (1, 2)},
    }


def _one(views: Views, index: int) -> Views:
    return Views(
        views.azimuth_deg[index : index + 1],
        views.elevation_deg[index : index + 1],
        views.viewmats[index : index + 1],
        views.Ks[index : index + 1],
        views.resolution,
    )


@torch.no_grad()
def _draw(scene: Splats, one: Views) -> Tensor:
    """A view of Gaussians that are activated and on the device."""
    colours, _, _ = rasterization(
        *(scene["means"], scene["quats"], scene["scales"], scene["opacities"], scene["colors"]),
        viewmats=one.viewmats,
        Ks=one.Ks,
        width=one.resolution,
        height=one.resolution,
        backgrounds=torch.zeros(1, 3, device=one.viewmats.device),
    )
    return colours


@torch.no_grad()
def _shoot(field: RadianceField, views: Views, index: int) -> tuple[Tensor, Tensor]:
    colour, alpha, _ = render(field, _one(views, index), SAMPLES)
    return colour, alpha


def _work(gpu: int, jobs: list[tuple[str, int]], overrides: list[str], out: Path) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    config = load_config(overrides=overrides)
    device = pick_device(config.device)
    for prompt, seed in jobs:
        result = dream(config, prompt, seed, device)
        with open(out / "results.jsonl", "a") as log:
            log.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
