"""Where an asset's softness comes from: the autoencoder, the targets, or the Gaussians.

    python -m benchmarks.claims.sharpness "a red bear wearing a top hat"
    python -m benchmarks.claims.sharpness "a red bear wearing a top hat" --asset outputs/<asset>

Prints `detail` (toybox/metrics/detail.py; 1 is the true toy, at the resolution that the
stage's prior sees) of

  round trip: the true toy's pictures through the prior's encoder and decoder;
  target: the decoded x0_hat of the true toy's pictures (with --asset: of that asset's renders), by
      noise level and guidance, and of the mean of two such targets with different noise, which is
      nearer to what the Gaussians see over many steps;
  fit: Gaussians optimised with the stage's own settings, but towards the true toy's pictures: what
      the representation, the learning rates and the number of steps allow.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.splats.ply import load_ply
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.target import denoise
from stabledreamer_core.distillation.view_prompts import view_prompts
from stabledreamer_core.optimization import loop as loop
from stabledreamer_core.optimization.stage import initial_scene
from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.priors.schedule import ddpm_schedule
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import Stage
from toybox.captions import caption
from toybox.catalogue import Toy, all_toys
from toybox.metrics.detail import detail
from toybox.metrics.pictures import Camera, Cutout, asset_camera, eight_azimuths, true_camera
from toybox.render import render
from toybox.scenes import toy_batch

CPU = torch.device("cpu")
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
GREY = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("prompt")
    parser.add_argument("--asset", type=Path, help="ask about this asset's gaussians.ply")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--fit", action="store_true", help="fit Gaussians too (a minute or two)")
    arguments = parser.parse_args()
    config = load_config(overrides=arguments.set)
    (toy,) = [toy for toy in all_toys() if caption(toy) == arguments.prompt]
    camera = true_camera(toy, config.evaluate.elevation_deg)
    shown = camera
    if arguments.asset:
        splats = load_ply(arguments.asset / "gaussians.ply")
        shown = asset_camera(splats, config.evaluate.elevation_deg, CPU)
    for number, stage in ((1, config.stage1), (2, config.stage2)):
        print(f"stage {number}, {stage.prior}, {stage.resolution} pixels")
        for line in targets(stage, arguments.prompt, camera, shown):
            print("  " + line, flush=True)
    if arguments.fit:
        for number, found in enumerate(fits(config, toy, camera), 1):
            print(f"fit with stage {number}'s settings: {found:.3f}", flush=True)


@torch.no_grad()
def targets(stage: Stage, prompt: str, truth: Camera, shown: Camera) -> Iterator[str]:
    """Lines about the round trip and the targets of `shown`, compared with `truth`."""
    prior = load_prior(stage.prior, device=CPU, base=ROOT, cache_dir=EMBEDDINGS)
    true = truth(eight_azimuths(), stage.resolution)
    pictures = shown(eight_azimuths(), stage.resolution).on(GREY)
    z = prior.encode(pictures)
    yield f"shown: {_detail(pictures, true):.3f}, round trip: {_detail(prior.decode(z), true):.3f}"
    embeddings = prior.embed([*view_prompts(prompt, "eight"), ""])
    for scale in (1.0, stage.guidance_scale):
        for level in LEVELS:
            asked = stage.model_copy(update={"guidance_scale": scale, "view_words": "eight"})
            pair = [_target(asked, prior, z, embeddings, level, seed) for seed in (0, 1)]
            one, both = _detail(pair[0], true), _detail((pair[0] + pair[1]) / 2, true)
            yield f"guidance {scale:g}, noise {level}: target {one:.3f}, mean of two {both:.3f}"


def _target(
    stage: Stage, prior: Prior, z: Tensor, embeddings: Tensor, level: float, seed: int
) -> Tensor:
    """Decoded x0_hat of eight views [8, ...] at a noise level."""
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed))
    timesteps = torch.full((len(z),), prior.schedule.index(level))
    asked = Question(z, noise, timesteps, embeddings[:8], embeddings[-1:])
    return prior.decode(denoise(stage, prior, asked))


def _detail(pictures: Tensor, truth: Cutout) -> float:
    """Of opaque pictures on mid-grey; their outline is taken for as long as the true toy's."""
    found = detail(Cutout(pictures - GREY * (1 - truth.alpha), truth.alpha), truth)
    return found or 0.0


def fits(config: Config, toy: Toy, truth: Camera) -> Iterator[float]:
    """Detail at 128 pixels after each stage, each towards the true toy's pictures."""
    splats = initial_scene(config, 0)
    for number, stage in ((1, config.stage1), (2, config.stage2)):
        splats = _fit(stage, splats, toy, f"stage{number}")
        seen = asset_camera(splats, config.evaluate.elevation_deg, CPU)(eight_azimuths(), 128)
        yield detail(seen, truth(eight_azimuths(), 128)) or 0.0


def _fit(stage: Stage, start: Splats, toy: Toy, name: str) -> Splats:
    """The stage loop itself, with a prior whose every answer is the true toy's picture."""
    drawn: dict[str, Any] = {}

    def draw_target(*arguments: Any) -> Any:
        drawn["target"] = original(*arguments)
        return drawn["target"]

    def denoise(stage: Stage, *_: Any) -> Tensor:
        target = drawn["target"]
        viewmats = target.views.viewmats
        centres = -(viewmats[:, :3, :3].transpose(1, 2) @ viewmats[:, :3, 3:])[..., 0]
        places = target.views.azimuth_deg, target.views.elevation_deg, centres.norm(dim=-1)
        return 2.0 * render(toy_batch(toy, *places, target.backgrounds), stage.resolution) - 1.0

    original = loop.draw_target
    prior = SimpleNamespace(
        space="pixel",
        schedule=ddpm_schedule(torch.linspace(0.9999, 0.002, 1000)),
        encode=lambda images: 2.0 * images - 1.0,
    )
    words = torch.zeros(1, 9, 4, 8)
    with mock.patch.multiple(loop, draw_target=draw_target, denoise=denoise):
        (splats,), _ = loop.optimize(
            stage, [start], prior, words, words[0, :1], seeds=[0], name=name, device=CPU
        )
    return splats


if __name__ == "__main__":
    main()
