"""What a family of pipelines is, and helpers that several families share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

T5 = ("T5Tokenizer", "T5TokenizerFast")
CLIP = ("CLIPTokenizer", "CLIPTokenizerFast")


def encode_kl(vae: Any, pixels: Tensor) -> Tensor:
    """Encode pixels [B, 3, H, W] in [-1, 1] to the mean of a VAE's posterior."""
    mean: Tensor = vae.encode(pixels).latent_dist.mean
    return mean


def decode_vae(vae: Any, latents: Tensor) -> Tensor:
    """Decode unscaled latents to pixels [B, 3, H, W] around [-1, 1]."""
    pixels: Tensor = vae.decode(latents, return_dict=False)[0]
    return pixels


@dataclass(frozen=True)
class Family:
    """How the pipelines of one diffusers class are read and called.

    An embedding is all that the denoiser needs to know of a prompt, packed into one tensor [L, D]:
    `with_rows` adds a vector, `with_mask` an attention mask.
    """

    space: str  # "pixel" or "latent"
    components: dict[str, tuple[str, ...]]  # component -> the classes that it can be of
    embed: Callable[[Any, str, torch.device], Tensor]  # (pipeline, prompt, device) -> [L, D]
    # (denoiser, x_t [B, C, H, W], what it is told [B], embeddings [B, L, D]) -> like x_t, where it
    # may have more channels, which are dropped
    call: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    denoiser: str = "transformer"  # or "unet"
    encode: Callable[[Any, Tensor], Tensor] = encode_kl
    decode: Callable[[Any, Tensor], Tensor] = decode_vae
    scaled: bool = True  # latents are shifted and scaled by the VAE's scaling_factor
    vae_memory: float = 1.0  # of its VAE's activations, to Stable Diffusion's for the same image
    patch: int = 1  # side, in the VAE's latents, of one place of what is denoised
    pixels: int = 0  # side of an image where neither sample_size nor default_sample_size says it
    any_size: bool = False  # it takes images of other sizes than its own
    max_tokens: int | None = None  # of a prompt; None: rows of an embedding
    prediction_type: str | None = None  # where the scheduler does not say it
    noise_scale: float = 1.0
    distilled: str | None = None  # key of model_index.json that says so
    prepare: Callable[[], None] | None = None  # before its pipeline is loaded
    libraries: tuple[str, ...] = ()  # besides transformers, that model_index.json may name
    openvino: bool = False  # its UNet runs in OpenVINO too


def with_rows(tokens: Tensor, vector: Tensor) -> Tensor:
    """Append a vector [N] to tokens [L, D], in as many rows as it fills."""
    rows = F.pad(vector, (0, -len(vector) % tokens.shape[1])).reshape(-1, tokens.shape[1])
    return torch.cat([tokens, rows.to(tokens)])


def split_rows(embeddings: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Undo `with_rows`: tokens [B, L, D] and vectors [B, length]."""
    rows = -(-length // embeddings.shape[2])
    return embeddings[:, :-rows], embeddings[:, -rows:].flatten(1)[:, :length]


def with_mask(tokens: Tensor, mask: Tensor) -> Tensor:
    """Append an attention mask [L] of zeros and ones to tokens [L, D], as a column."""
    return torch.cat([tokens, mask[:, None].to(tokens)], 1)


def split_mask(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `with_mask`: tokens [B, L, D] and mask [B, L]."""
    return embeddings[..., :-1], embeddings[..., -1]
