"""Training the judge on renders, and on pictures of nothing (blobs.py)."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from toybox.catalogue import ACCESSORIES, ACCESSORY_COLOURS, CATEGORIES, COLOURS, all_toys
from toybox.judge import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    JudgeNetwork,
    Labels,
    answers,
    load_judge,
    resize,
)
from toybox.scenes import Batch
from toybox.training.augment import blur, fade, grain, sometimes, speckles, tone, uniform
from toybox.training.blobs import nothing
from toybox.training.device import autocast, prepare
from toybox.training.export import half, replace_folder
from toybox.training.figures import earlier_training, record_training
from toybox.training.loop import Losses, Slice, Task, train
from toybox.training.renders import renders
from toybox.training.settings import Judge as JudgeSettings
from toybox.training.settings import Training
from toybox.training.state import Counters, fingerprint

IGNORED = -100  # cross_entropy leaves these out


def train_judge(
    settings: Training,
    slice_: Slice,
    device: torch.device,
    folder: Path,
    warm_start: Path | None = None,
) -> Counters:
    """Train the judge for a slice and leave it in `folder`.

    Args:
        warm_start: a finished folder whose weights to begin with, where there is no saved state.
    """
    judge, labels = settings.judge, Labels()
    if warm_start is not None:
        model = load_judge(warm_start.absolute()).network.requires_grad_(True)
    else:
        torch.manual_seed(settings.seed + 3)
        model = JudgeNetwork(judge.channels, judge.hidden, judge.norm_groups, answers(labels))
    model.to(device).train()
    prepare(model, judge.optim.compile, device)
    draw = renders(settings, device)
    earlier = earlier_training(warm_start, "judge")
    table = truth_table().to(device)

    def loss(step: int, generator: torch.Generator) -> Losses:
        sizes = judge.render_resolutions
        images, scenes = draw(judge.optim.batch, sizes[step % len(sizes)], generator)
        images = resize(images, judge.resolution)
        images, empty = _with_nothing(images, scenes, judge, generator)
        wanted = truth(scenes, table, empty)
        with autocast(device):
            logits = model(images.contiguous(memory_format=torch.channels_last))
        losses = {name: _cross_entropy(logits[name].float(), wanted[name]) for name in wanted}
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def export(average: nn.Module, counters: Counters) -> None:
        replace_folder(folder, lambda new: _save(average, judge, labels, new))
        record_training(folder, "judge", counters, judge.optim, device, earlier)

    task = Task(model, loss, export, fingerprint(settings, judge), settings.seed)
    return train(task, judge.optim, slice_, device)


def truth_table() -> Tensor:
    """[toys, 5] int64: category, colour, accessory, its colour, and whether there is a front.

    A toy without an accessory has no accessory colour: `IGNORED`.
    """
    categories, colours, kinds = list(CATEGORIES), list(COLOURS), ["", *ACCESSORIES]
    accents = list(ACCESSORY_COLOURS)
    return torch.tensor(
        [
            [
                categories.index(toy.category),
                colours.index(toy.colour),
                kinds.index(toy.accessory or ""),
                accents.index(toy.accessory_colour) if toy.accessory_colour else IGNORED,
                int(CATEGORIES[toy.category].has_front),
            ]
            for toy in all_toys()
        ]
    )


def truth(scenes: Batch, table: Tensor, empty: Tensor) -> dict[str, Tensor]:
    """The right answers [n] of each question; `IGNORED` where a question has none.

    Args:
        table: `truth_table()` on the scenes' device.
        empty: [n] bool, images that show nothing.
    """
    category, colour, accessory, accessory_colour, has_front = table[scenes.toy_index].unbind(1)
    view = torch.floor((scenes.azimuth_deg + 22.5) / 45.0).long() % 8
    answers_ = {
        "colour": colour,
        "accessory": accessory,
        "accessory_colour": accessory_colour,
        "view": torch.where(has_front == 1, view, IGNORED),
    }
    found = {name: torch.where(empty, IGNORED, value) for name, value in answers_.items()}
    return {"category": torch.where(empty, len(CATEGORIES), category), **found}


def _with_nothing(
    images: Tensor, scenes: Batch, judge: JudgeSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Worn renders, a share of them replaced by pictures of nothing; and which ones [n] bool."""
    count = math.ceil(judge.negatives * len(images))
    empty = torch.arange(len(images), device=images.device) < count
    blank = nothing(images[:count], scenes.background[:count], generator)
    worn_ = worn(images[count:], scenes.background[count:], generator)
    return torch.cat([blank, worn_]), empty


def worn(images: Tensor, background: Tensor, generator: torch.Generator) -> Tensor:
    """Renders as Gaussians would show them: a little soft, translucent, speckled, off in tone."""
    n = len(images)
    soft = blur(images, images.shape[-1] / 64.0 * uniform(n, 0.2, 1.3, generator))
    changed = sometimes(images, soft, 0.6, generator)
    faded = fade(changed, background, uniform(n, 0.6, 1.0, generator))
    changed = sometimes(changed, faded, 0.4, generator)
    spotted = speckles(changed, 5, (0.008, 0.06), generator)
    changed = sometimes(changed, spotted, 0.25, generator)
    toned = tone(changed, uniform(n, 0.85, 1.15, generator), uniform(n, 0.85, 1.35, generator))
    changed = sometimes(changed, toned, 0.6, generator)
    grainy = grain(changed, uniform(n, 0.0, 0.06, generator), generator)
    return sometimes(changed, grainy, 0.5, generator)


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean over the answered questions; 0, not NaN, where there is none."""
    total = F.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum")
    return total / (wanted != IGNORED).sum().clamp(min=1)


def _save(network: nn.Module, judge: JudgeSettings, labels: Labels, folder: Path) -> None:
    """config.json and model.safetensors (float16)."""
    config = {
        "channels": judge.channels,
        "hidden": judge.hidden,
        "norm_groups": judge.norm_groups,
        "resolution": judge.resolution,
        "labels": asdict(labels),
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n")
    tensors = {name: value.contiguous() for name, value in half(network).state_dict().items()}
    save_file(tensors, folder / WEIGHTS_FILE)
