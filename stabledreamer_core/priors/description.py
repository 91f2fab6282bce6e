"""What a prior's folder says of it: the shape of what it denoises, its scales and noise levels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stabledreamer_core.errors import UserError
from stabledreamer_core.priors.families import Family
from stabledreamer_core.priors.layout import read_family, read_json
from stabledreamer_core.priors.schedule import Schedule, read_schedule

MAX_PIXELS = 1024  # of a sample's side, and of its channels


@dataclass(frozen=True)
class Description:
    """A prior without its networks."""

    family: Family
    sample_shape: tuple[int, int, int]  # (C, H, W) of what it denoises
    resolution: int  # side of its images in pixels
    scaling_factor: float  # of latents, after `shift_factor` is taken off
    shift_factor: float
    schedule: Schedule  # on the CPU
    prediction_type: str


def describe(folder: Path, dtype: torch.dtype) -> Description:
    """Read a prior's folder.

    Args:
        dtype: of the networks; the schedule's tables are as precise, at least float32.

    Raises:
        UserError: a file is missing or damaged, or it is no first stage.
    """
    _, family = read_family(folder)
    denoiser, index = (
        read_json(folder / family.denoiser / "config.json"),
        read_json(folder / "model_index.json"),
    )
    pixels_a_sample, factors = 1, (1.0, 0.0)
    if family.space == "latent":
        pixels_a_sample, *kept = _latent_scale(folder / "vae/config.json")
        pixels_a_sample *= family.patch
        factors = (kept[0], kept[1]) if family.scaled else factors
    pixels = index.get("default_sample_size") or family.pixels
    if denoiser.get("sample_size") is None and isinstance(pixels, int) and pixels:
        denoiser["sample_size"] = pixels // pixels_a_sample
    shape = _sample_shape(denoiser, family.denoiser)
    if family.space == "pixel" and shape[0] != 3:
        raise UserError(
            f"{folder / family.denoiser / 'config.json'}: in_channels is {shape[0]}, not 3; only a"
            " pipeline's first stage, which starts from noise alone, can be a prior"
        )
    scheduler = read_json(folder / "scheduler/scheduler_config.json")
    tokens = (shape[1] // _patch_size(denoiser)) ** 2
    precise = torch.promote_types(dtype, torch.float32)
    schedule, predicted = read_schedule(scheduler, tokens, precise, _noise_scale(index, family))
    prediction_type = family.prediction_type or predicted
    resolution = shape[1] * pixels_a_sample
    return Description(family, shape, resolution, *factors, schedule, prediction_type)


def _patch_size(denoiser: dict[str, Any]) -> int:
    size = denoiser.get("patch_size") or 1
    if not isinstance(size, int) or not 0 < size <= MAX_PIXELS:
        raise UserError(f"this prior is damaged: its denoiser's patch_size is {str(size)[:40]}")
    return size


def _noise_scale(index: dict[str, Any], family: Family) -> float:
    scale = index.get("noise_scale", family.noise_scale)
    if not isinstance(scale, int | float) or not 0.1 <= scale <= 10.0:
        raise UserError(f"this prior is damaged: model_index.json: noise_scale {str(scale)[:40]}")
    return float(scale)


def _sample_shape(denoiser: dict[str, Any], name: str) -> tuple[int, int, int]:
    """(C, H, W) that a denoiser's configuration asks for."""
    size = denoiser.get("sample_size")
    shape = (denoiser.get("in_channels"), *(size if isinstance(size, list) else (size, size)))
    if len(shape) != 3 or not all(type(n) is int and 0 < n <= MAX_PIXELS for n in shape):
        raise UserError(f"this prior is damaged: its {name}'s samples are of shape {shape}"[:300])
    return shape


def _latent_scale(path: Path) -> tuple[int, float, float]:
    """Pixels a latent, and the latents' scale and shift, of a VAE's configuration."""
    vae = read_json(path)
    levels = vae.get("block_out_channels") or vae.get("encoder_block_out_channels")
    scaling = vae.get("scaling_factor") or 0.18215
    shift = vae.get("shift_factor") or 0.0
    if not isinstance(levels, list) or not 0 < len(levels) <= 8:
        raise UserError(f"this prior is damaged: {path} has no block_out_channels")
    if not all(isinstance(number, int | float) for number in (scaling, shift)):
        raise UserError(f"this prior is damaged: {path}: scaling_factor or shift_factor")
    return 2 ** (len(levels) - 1), float(scaling), float(shift)
