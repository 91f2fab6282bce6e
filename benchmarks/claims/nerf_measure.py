"""What the NeRFs of nerf_baseline.py are worth; they have no mesh.

    python -m benchmarks.claims.nerf_measure outputs/nerf
    python -m benchmarks.claims.nerf_measure --speed outputs/suite/plys/default/<asset>-2.ply
    python -m benchmarks.claims.nerf_measure --memory

The first scores every asset into measured.jsonl, as suite_table.py does Gaussians. The second
prints frames a second of both representations at 512x512, a view at a time; the third the GPU
memory that optimising one asset takes with each, the prior included. Both side by side.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.claims.nerf_baseline import SAMPLES, dream
from benchmarks.claims.nerf_field import RadianceField, render
from benchmarks.search.results import Result, read_results, recipe_config, result_name
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.splats.ply import load_ply
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.optimization.stage import pick_device, run_stages
from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene.cameras import Views, orbit
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import drawable
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.config import Config, with_overrides
from stabledreamer_core.settings.stage import STAGES
from stabledreamer_core.tensor_files import load_tensors
from toybox.metrics.evaluate import evaluate_views
from toybox.metrics.pictures import DISTANCE, FOV_DEG, Camera, Cutout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, nargs="?", help="folder of nerf_baseline")
    parser.add_argument("--measured", type=Path, help="default: OUT/measured.jsonl")
    parser.add_argument("--speed", type=Path, metavar="PLY", help="measure rendering alone")
    parser.add_argument("--memory", action="store_true", help="measure memory alone")
    arguments = parser.parse_args()
    try:
        if arguments.speed:
            print(json.dumps(speed(arguments.speed, pick_device("auto")), indent=2))
        elif arguments.memory:
            print(json.dumps(memory(load_config()), indent=2))
        elif arguments.out:
            measure(arguments.out, arguments.measured or arguments.out / "measured.jsonl")
        else:
            parser.error("name a folder, or --speed, or --memory")
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


def measure(out: Path, file: Path) -> None:
    """Score every result of a folder; writes `file`, a line an asset."""
    results = read_results(out / "results.jsonl")
    lines = [json.dumps(_measured(out, result)) + "\n" for result in results]
    with atomic_write(file) as temporary:
        temporary.write_text("".join(lines))


def _measured(out: Path, result: Result) -> Result:
    config = recipe_config(result["set"])
    device = pick_device(config.device)
    field = RadianceField(generator(0, "nerf"))
    field.load_state_dict(load_tensors(out / result_name(result, "fields", ".safetensors"))[0])
    camera = nerf_camera(field.to(device), config.evaluate.elevation_deg, device)
    return {**result, "metrics": evaluate_views(camera, result["prompt"], config.evaluate, device)}


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
    _, nerf = dream(config, prompt, 0, device)
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


if __name__ == "__main__":
    main()
