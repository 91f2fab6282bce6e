"""How good the priors are: ordinary pipeline samples of held-out toys, scored by the judge."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, IFPipeline, PRXPixelPipeline, StableDiffusionPipeline
from torch import Tensor

from stabledreamer_core.distillation.view_prompts import FINE_WORDS
from stabledreamer_core.errors import UserError
from toybox.captions import caption
from toybox.catalogue import CATEGORIES, Toy
from toybox.heldout import heldout_combinations, heldout_toys
from toybox.judge import Judge, Judgement
from toybox.training.augment import blur, uniform
from toybox.training.blobs import cloud, lumps, noise, silhouette
from toybox.training.judging import IGNORED, truth, truth_table
from toybox.training.renders import renders
from toybox.training.settings import Samples, Training
from toybox.training.vae import psnr, reconstruction

PIPELINES = {"if": IFPipeline, "flow": PRXPixelPipeline, "sd": StableDiffusionPipeline}
OPTIONS: dict[str, dict[str, Any]] = {"flow": {"use_resolution_binning": False}}


@dataclass(frozen=True)
class Wish:
    """A held-out toy and the direction it is to be seen from (index into FINE_WORDS)."""

    toy: Toy
    view: int

    @property
    def prompt(self) -> str:
        """The caption with its view words."""
        return f"{caption(self.toy)}, {FINE_WORDS[self.view]}"


def wishes(count: int, seed: int = 0) -> list[Wish]:
    """`count` wishes: the held-out combinations in turn, accessory colours and views at random."""
    generator = np.random.default_rng(seed)
    groups = [
        [toy for toy in heldout_toys() if (toy.category, toy.colour, toy.accessory) == combination]
        for combination in heldout_combinations()
    ]
    picked = []
    for index in range(count):
        group = groups[index % len(groups)]
        toy = group[int(generator.integers(len(group)))]
        picked.append(Wish(toy, int(generator.integers(len(FINE_WORDS)))))
    return picked


@torch.no_grad()
def sample(
    what: str, folder: Path, prompts: list[str], settings: Samples, device: torch.device
) -> Tensor:
    """Images [n, 3, R, R] in [0, 1] by the pipeline's own call, in float16 on a GPU.

    Raises:
        UserError: the pipeline's folder is missing.
    """
    if not (folder / "model_index.json").exists():
        raise UserError(f"there is no pipeline in {folder}: train it first")
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    pipeline = PIPELINES[what].from_pretrained(folder, dtype=dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    if what == "flow":
        pipeline.transformer.register_forward_pre_hook(_tell_each_sample, with_kwargs=True)
    generator = torch.Generator(device).manual_seed(0)
    images = []
    for start in range(0, len(prompts), settings.batch):
        result = pipeline(
            prompts[start : start + settings.batch],
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            generator=generator,
            output_type="np",
            **OPTIONS.get(what, {}),
        )
        images.append(torch.from_numpy(result.images).permute(0, 3, 1, 2).float())
    return torch.cat(images).to(device)


def _tell_each_sample(
    _: Any, inputs: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The timestep, once for each sample: PRXPixelPipeline (0.42) repeats it for one prompt."""
    told = options["timestep"][:1].expand(len(options["hidden_states"]))
    return inputs, options | {"timestep": told}


def verdicts(judgement: Judgement, wished: list[Wish], judge: Judge) -> dict[str, Tensor]:
    """For each wish whether the judge sees it: 1, 0, or NaN where a question has no answer."""
    labels, device = judge.labels, judgement.category.device
    nan = float("nan")

    def right(answer: Tensor, names: tuple[str, ...], wanted: list[str | None]) -> Tensor:
        index = torch.tensor([names.index(w) if w else -1 for w in wanted], device=device)
        return torch.where(index < 0, nan, (answer.argmax(1) == index).float())

    toys = [wish.toy for wish in wished]
    fronts = [CATEGORIES[toy.category].has_front for toy in toys]
    seen = judgement.view.argmax(1)
    asked = torch.tensor([wish.view for wish in wished], device=device)
    apart = (seen - asked + 4).remainder(8).sub(4).abs()
    has_front = torch.tensor(fronts, device=device)
    accents = [toy.accessory_colour for toy in toys]
    return {
        "category": right(judgement.category, labels.category, [toy.category for toy in toys]),
        "colour": right(judgement.colour, labels.colour, [toy.colour for toy in toys]),
        "accessory": right(
            judgement.accessory, labels.accessory, [toy.accessory or "none" for toy in toys]
        ),
        "accessory_colour": right(judgement.accessory_colour, labels.accessory_colour, accents),
        "view": torch.where(has_front, (apart <= 1).float(), nan),
        "view_exact": torch.where(has_front, (apart == 0).float(), nan),
    }


def means(table: dict[str, Tensor]) -> dict[str, float]:
    """Means over the answered questions, four digits."""
    return {name: round(float(values.nanmean()), 4) for name, values in table.items()}


@torch.no_grad()
def judge_figures(
    judge: Judge, settings: Training, device: torch.device, count: int
) -> dict[str, Any]:
    """The judge on true renders of held-out toys, and on pictures of nothing."""
    draw = renders(settings, device, split="heldout")
    generator = torch.Generator(device).manual_seed(7)
    table = truth_table().to(device)
    right: dict[str, list[Tensor]] = {}
    nothing: dict[str, list[Tensor]] = {}
    for _ in range(max(1, count // 256)):
        images, scenes = draw(min(count, 256), judge.resolution, generator)
        wanted = truth(scenes, table, torch.zeros(len(images), dtype=torch.bool, device=device))
        answer = judge(images)
        for name, index in wanted.items():
            hit = (getattr(answer, name).argmax(1) == index).float()
            right.setdefault(name, []).append(torch.where(index == IGNORED, torch.nan, hit))
        apart = (answer.view.argmax(1) - wanted["view"] + 4).remainder(8).sub(4).abs()
        near = torch.where(wanted["view"] == IGNORED, torch.nan, (apart <= 1).float())
        right.setdefault("view_within_one", []).append(near)
        plain = scenes.background[:, :, None, None].expand_as(images)
        wide = uniform(len(images), 6.0, 10.0, generator) * judge.resolution / 64.0
        pictures = {
            "noise": noise(images, generator),
            "blurred": blur(images, wide),
            "lumps": lumps(plain, 6, generator),
            "clouds": cloud(plain, 24, generator),
            "outlines": silhouette(images, plain, generator),
            "empty": plain,
        }
        for name, picture in pictures.items():
            none = judge(picture).category.argmax(1) == len(CATEGORIES)
            nothing.setdefault(name, []).append(none.float())
    return {
        "images": count,
        "true_renders": means({name: torch.cat(values) for name, values in right.items()}),
        "answers_none": means({name: torch.cat(values) for name, values in nothing.items()}),
    }


@torch.no_grad()
def vae_figures(
    folder: Path, settings: Training, device: torch.device, count: int
) -> dict[str, float]:
    """Reconstruction of held-out renders: mean and 5 % quantile of the PSNR in dB."""
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(device)
    draw = renders(settings, device, split="heldout")
    generator = torch.Generator(device).manual_seed(11)
    values = []
    for _ in range(max(1, count // 64)):
        images, _ = draw(min(count, 64), settings.vae.resolution, generator)
        values.append(psnr(reconstruction(vae, images), images))
    found = torch.cat(values)
    return {
        "images": len(found),
        "psnr_db": round(float(found.mean()), 2),
        "psnr_db_worst_5_percent": round(float(found.quantile(0.05)), 2),
    }
