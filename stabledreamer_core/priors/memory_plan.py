"""Fit a prior into a GPU's memory: where its text encoder runs, how many samples at once.

The text encoder and the other networks never share memory (text.py), so each is planned for by
itself. What the weights take is counted; what a sample takes besides is estimated, generously, and
where the estimate is still too small the batch is cut (memory.halve_on_oom).
"""

import importlib.util
import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import torch

from stabledreamer_core.errors import UserError
from stabledreamer_core.priors.hub import model_name
from stabledreamer_core.priors.layout import has_weights, is_text, read_family, weight_files

GB = 10**9
RESERVE = 1.0 * GB  # the scene, its optimiser and renders
DENOISED = 0.35 * GB  # activations of one sample, at 512 pixels or fewer
# Activations of Stable Diffusion's VAE encoder for one image of 512 pixels, with its gradient:
# 1.7 GB are kept for the backward pass (counted on meta tensors), .9 where only its widest block's
# are at a time; and what is passed on.
ENCODED = 1.9 * GB
ENCODED_BY_BLOCKS = 1.2 * GB
USUAL_VIEWS = 4
SMALL_BYTES = 1.0 * GB  # of networks that any GPU holds
MANY = 16  # samples at once, from which on no limit is set

Where = Literal["GPU", "8 bit", "CPU"]


@dataclass(frozen=True)
class Sizes:
    """Bytes that a prior's networks take in memory, and the side of its images in pixels.

    vae_memory is that of its family (`Family.vae_memory`).
    """

    text: float
    denoiser: float
    vae: float  # 0: it has none
    side: int
    vae_memory: float = 1.0


@dataclass(frozen=True)
class MemoryPlan:
    """How a prior is run on a GPU.

    Attributes:
        text: where its text encoder runs: on the GPU, there in 8 bits, or on the CPU.
        chunk: most samples that pass the denoiser at once; 0: all.
        vae_slices: whether the VAE encodes image by image, and block by block again in the
            backward pass.
    """

    text: Where
    chunk: int
    vae_slices: bool

    def words(self) -> str:
        """Say it in a few words."""
        places = {"GPU": "on the GPU", "8 bit": "in 8 bits on the GPU", "CPU": "on the CPU"}
        samples = {0: "all samples at once", 1: "one sample at a time"}
        chunk = samples.get(self.chunk, f"at most {self.chunk} samples at once")
        vae = ", VAE image by image" if self.vae_slices else ""
        return f"text encoder {places[self.text]}, {chunk}{vae}"


def plan_memory(sizes: Sizes, gpu_bytes: float, eight_bit: bool, name: str = "prior") -> MemoryPlan:
    """Plan for a GPU that gives us `gpu_bytes`.

    Args:
        eight_bit: whether text encoders can be read in 8 bits here (`has_eight_bit`).
        name: of the prior, in the error.

    Raises:
        UserError: the networks do not fit even one sample at a time.
    """
    larger = max(1.0, (sizes.side / 512) ** 2)
    need, sample = least_bytes(sizes), DENOISED * larger
    left = gpu_bytes - sizes.denoiser - sizes.vae - RESERVE
    if gpu_bytes < need:
        raise UserError(
            f"the GPU has {gpu_bytes / GB:.0f} GB for us and {name} needs about {need / GB:.0f};"
            " take a smaller prior (`stabledreamer priors list`, --preset small), a smaller"
            " resolution where the prior allows it, or device: cpu"
        )
    # What the VAE keeps for its backward pass lies beside the samples, unless it goes by slices.
    images = USUAL_VIEWS * ENCODED * sizes.vae_memory * larger if sizes.vae else 0.0
    slices = left < images + 2 * USUAL_VIEWS * sample  # with and without the prompt
    at_once = int((left if slices else left - images) / sample)
    where: Where = "GPU"
    if sizes.text + RESERVE > gpu_bytes:
        where = "8 bit" if eight_bit and sizes.text / 1.4 + RESERVE <= gpu_bytes else "CPU"
    # A power of two, so that the usual batch is cut into equal pieces: one CUDA graph for all.
    chunk = 0 if at_once >= MANY else 1 << max(at_once.bit_length() - 1, 0)
    return MemoryPlan(where, chunk, slices and sizes.vae > 0)


def plan_folder(
    folder: Path,
    variant: str | None,
    dtype: torch.dtype,
    device: torch.device,
    side: int,
    text: bool = True,
) -> tuple[Sizes, MemoryPlan | None]:
    """Plan for the prior in a folder and a GPU; None if it is so small that any card holds it.

    Args:
        text: whether it embeds prompts.

    Raises:
        UserError: the networks do not fit.
    """
    sizes = folder_sizes(folder, variant, dtype, side, text)
    if sizes.text + sizes.denoiser + sizes.vae < SMALL_BYTES:
        return sizes, None
    name = model_name(folder)
    return sizes, plan_memory(sizes, gpu_bytes(device), has_eight_bit(), name)


def least_bytes(sizes: Sizes) -> float:
    """Return the bytes of a GPU that a prior needs, its text encoder elsewhere: an estimate."""
    larger = max(1.0, (sizes.side / 512) ** 2)
    image = ENCODED_BY_BLOCKS * sizes.vae_memory if sizes.vae else 0.0
    return sizes.denoiser + sizes.vae + RESERVE + larger * (DENOISED + image)


def gpu_bytes(device: torch.device) -> float:
    """Return the bytes that a GPU gives this process: capped, and less what others hold."""
    index = torch.cuda.current_device() if device.index is None else device.index
    free, total = torch.cuda.mem_get_info(index)
    cap = torch.cuda.get_per_process_memory_fraction(index) * total
    return min(cap, free + torch.cuda.memory_reserved(index))


def has_eight_bit() -> bool:
    """Whether bitsandbytes is installed, which reads text encoders in 8 bits."""
    return importlib.util.find_spec("bitsandbytes") is not None


def folder_sizes(
    folder: Path, variant: str | None, dtype: torch.dtype, side: int, text: bool = True
) -> Sizes:
    """Count what the networks in a prior's folder take in `dtype`, from their files' headers.

    Args:
        text: whether the text encoders' files are there.
    """
    _, family = read_family(folder)
    parts = [part for part in family.components if has_weights(part)]

    def size(wanted: list[str]) -> float:
        files = [folder / name for part in wanted for name in weight_files(folder, part, variant)]
        return float(sum(_numbers(file) for file in files)) * dtype.itemsize

    texts = [part for part in parts if is_text(part)] if text else []
    # T5 keeps a fifth of itself in float32 beside float16.
    mixed = 1.25 if dtype == torch.float16 else 1.0
    vaes = [part for part in parts if part == "vae"]
    found = mixed * size(texts), size([family.denoiser]), size(vaes)
    return Sizes(*found, side, family.vae_memory)


def _numbers(file: Path) -> int:
    """Count the numbers in a safetensors file by its header."""
    with open(file, "rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
