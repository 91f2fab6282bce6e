"""The judge: a small network that says what one image shows. It scores results, nothing more.

It was trained on renders alone and can say "none of these". It takes part in optimisation only
where a stage asks it to (judge_views.py).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from stabledreamer_core.distillation.view_prompts import FINE_WORDS
from stabledreamer_core.errors import UserError, first_line
from toybox.catalogue import ACCESSORIES, ACCESSORY_COLOURS, CATEGORIES, COLOURS

ROOT = Path(__file__).resolve().parents[1]
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


@dataclass(frozen=True)
class Labels:
    """What each answer's numbers stand for, in order."""

    category: tuple[str, ...] = (*CATEGORIES, "none of these")
    colour: tuple[str, ...] = tuple(COLOURS)
    accessory: tuple[str, ...] = ("none", *ACCESSORIES)
    accessory_colour: tuple[str, ...] = tuple(ACCESSORY_COLOURS)
    """The ten colours, then black."""
    view: tuple[str, ...] = FINE_WORDS


@dataclass(frozen=True)
class Judgement:
    """Probabilities for B images; columns are named by `Judge.labels`."""

    category: Tensor  # [B, categories + 1], the last one "none of these"
    colour: Tensor  # [B, 10]
    accessory: Tensor  # [B, 4]
    accessory_colour: Tensor  # [B, 11]
    view: Tensor  # [B, 8] arcs of 45 degrees, centred on azimuth 0, 45, ...


class JudgeNetwork(nn.Module):
    """A residual convolutional network with one linear answer for each question.

    Args:
        channels: width at each level, finest first; each level halves the side.
        hidden: width of the layer that all answers read.
        norm_groups: groups of the group norms.
        answers: how many choices each question has.
    """

    def __init__(
        self, channels: Sequence[int], hidden: int, norm_groups: int, answers: dict[str, int]
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 3, padding=1)
        widths = [channels[0], *channels]
        self.levels = nn.ModuleList(
            _Level(a, b, norm_groups, stride=2 if index else 1)
            for index, (a, b) in enumerate(pairwise(widths))
        )
        self.norm = nn.GroupNorm(norm_groups, channels[-1])
        # The mean says what there is, the maximum says it however small it is.
        self.mix = nn.Linear(2 * channels[-1], hidden)
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, n) for name, n in answers.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of each answer for images [B, 3, R, R] in [0, 1]."""
        x = self.stem(2.0 * images - 1.0)
        for level in self.levels:
            x = level(x)
        x = F.silu(self.norm(x))
        features = F.silu(self.mix(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)))
        return {name: head(features) for name, head in self.heads.items()}


class _Level(nn.Module):
    """Two residual blocks, the first of which may halve the side."""

    def __init__(self, width: int, out: int, groups: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, width), nn.Conv2d(width, out, 3, stride, 1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, out), nn.Conv2d(out, out, 3, 1, 1)
        self.skip = nn.Conv2d(width, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        out: Tensor = self.skip(x) + self.conv2(F.silu(self.norm2(hidden)))
        return out


class Judge:
    """A trained network with its labels: `judge(images) -> Judgement`."""

    def __init__(self, network: JudgeNetwork, resolution: int, labels: Labels) -> None:
        self.network, self.resolution, self.labels = network, resolution, labels

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Judgement:
        """Judge images [B, 3, H, W] in [0, 1], of any size."""
        weight = next(self.network.parameters())
        images = resize(images.to(weight), self.resolution)
        logits = self.network(images)
        return Judgement(**{name: values.float().softmax(1) for name, values in logits.items()})


def resize(images: Tensor, side: int) -> Tensor:
    """Images [B, 3, H, W] at `side` squared: the mean of areas to shrink, linear to grow."""
    if images.shape[-1] == side and images.shape[-2] == side:
        return images
    if min(images.shape[-2:]) >= side:
        return F.interpolate(images, (side, side), mode="area")
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)


def answers(labels: Labels) -> dict[str, int]:
    """How many choices each question has."""
    return {name: len(names) for name, names in asdict(labels).items()}


def load_judge(
    folder: str | Path = "priors/toybox-judge", device: torch.device | str = "cpu"
) -> Judge:
    """The judge in `folder` (relative to here, else to the repository's root).

    Raises:
        UserError: the folder is missing, damaged, or knows another catalogue.
    """
    path = Path(folder)
    if not path.is_absolute() and not path.exists():
        path = ROOT / path
    try:
        config = json.loads((path / CONFIG_FILE).read_text())
        weights = load_file(path / WEIGHTS_FILE)
        labels = Labels(**{name: tuple(names) for name, names in config["labels"].items()})
        network = JudgeNetwork(
            config["channels"], config["hidden"], config["norm_groups"], answers(labels)
        )
        network.load_state_dict({name: value.float() for name, value in weights.items()})
    except FileNotFoundError as error:
        raise UserError(f"there is no judge in {path}: {error.filename} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the judge in {path} is damaged: {first_line(error)}") from error
    if labels != Labels():
        raise UserError(f"the judge in {path} knows another catalogue; train it again")
    return Judge(network.to(device).eval(), int(config["resolution"]), labels)
