"""The same two stages, priors, loss and prior calls with a NeRF in place of the Gaussians.

    python -m benchmarks.claims.nerf_baseline --prompts prompts/toybox.yaml --count 12 \\
        --seeds 0 1 2 --out outputs/nerf --workers 6

Makes assets: results.jsonl with a line an asset, and their fields. nerf_measure.py measures them.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.claims.nerf_field import RadianceField, render
from benchmarks.search.results import result_name
from flows.prompts_file import read_prompts
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.distillation.kept_targets import keep, kept
from stabledreamer_core.distillation.loss import l2_loss
from stabledreamer_core.distillation.loss_space import (
    target_in_loss_space,
    to_loss_space,
    to_prior_space,
)
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.sample_step import Target, draw_noise, draw_target
from stabledreamer_core.distillation.target import denoise
from stabledreamer_core.distillation.view_prompts import view_index, view_prompts
from stabledreamer_core.optimization.stage import pick_device
from stabledreamer_core.priors import load_prior
from stabledreamer_core.scene.regularizers import leakage, opacity
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import Stage
from stabledreamer_core.tensor_files import save_tensors

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
    arguments = parser.parse_args()
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


def dream(
    config: Config, prompt: str, seed: int, device: torch.device
) -> tuple[RadianceField, dict[str, Any]]:
    """Both stages for one prompt: the field, and its record with seconds and peak memory."""
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
    return field, result


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
    name = f"nerf{number}"
    targets: list[Target] = []
    for step in range(stage.iterations):
        target = kept(targets, stage, step, name)
        target = target or draw_target(stage, prior.schedule, step, [seed], name)
        jitter = torch.Generator(device).manual_seed(1_000_003 * seed + step)
        painted, alphas, _ = render(field, target.views, SAMPLES, jitter)
        colors = painted + (1.0 - alphas) * target.backgrounds[:, None, None]
        images = F.avg_pool2d(colors.permute(0, 3, 1, 2), stage.supersampling)
        x = to_loss_space(stage, prior, images)
        if target.x0_hat is None:
            places = zip(target.views.azimuth_deg, target.views.elevation_deg, strict=True)
            rows = [view_index(float(a), float(e), stage.view_words) for a, e in places]
            z, pull = to_prior_space(stage, prior, images, x)
            noise = draw_noise(z, step, [seed], name)
            asked = Question(z, noise, target.timesteps, embeddings[rows], embeddings[-1:])
            x0_hat = denoise(stage, prior, asked)
            target.x0_hat = target_in_loss_space(stage, prior, images, z, x0_hat, pull)
        loss = l2_loss(x, target.x0_hat, target.weight).sum() / x.numel()
        loss = loss + stage.regularizers.opacity * opacity(alphas)
        loss = loss + stage.regularizers.leakage * leakage(alphas)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        targets = keep(targets, target, stage, step)


def _work(gpu: int, jobs: list[tuple[str, int]], overrides: list[str], out: Path) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    config = load_config(overrides=overrides)
    device = pick_device(config.device)
    for prompt, seed in jobs:
        field, result = dream(config, prompt, seed, device)
        file = out / result_name(result, "fields", ".safetensors")
        save_tensors(file, field.state_dict(), {})
        with open(out / "results.jsonl", "a") as log:
            log.write(json.dumps({**result, "set": overrides}) + "\n")


if __name__ == "__main__":
    main()
