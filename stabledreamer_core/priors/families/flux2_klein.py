"""FLUX.2 klein base: rectified flow on 2 x 2 patches of latents, normalised by a batch norm's
statistics. The distilled klein has no guidance and is refused."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stabledreamer_core.priors.families.family import Family, decode_vae


def embed(pipeline: Any, prompt: str, device: torch.device) -> Tensor:
    """Embed a prompt: [512, D], three of the language model's layers side by side."""
    tokens: Tensor = pipeline.encode_prompt(prompt=[prompt], device=device)[0]
    return tokens[0]


def call(transformer: Any, x_t: Tensor, told: Tensor, embeddings: Tensor) -> Tensor:
    """Ask the transformer; positions are (time, row, column, place in the text)."""
    count, _, height, width = x_t.shape
    zero = torch.zeros(1, dtype=torch.int64, device=x_t.device)
    rows, columns, words = (
        torch.arange(length, device=x_t.device) for length in (height, width, embeddings.shape[1])
    )
    image = torch.cartesian_prod(zero, rows, columns, zero)
    text = torch.cartesian_prod(zero, zero, zero, words)
    output: Tensor = transformer(
        hidden_states=x_t.flatten(2).transpose(1, 2),
        timestep=told.to(x_t.dtype) / 1000,
        guidance=None,
        encoder_hidden_states=embeddings,
        txt_ids=text.expand(count, -1, -1),
        img_ids=image.expand(count, -1, -1),
        return_dict=False,
    )[0]
    return output.transpose(1, 2).unflatten(2, (height, width))


def encode(vae: Any, pixels: Tensor) -> Tensor:
    """Encode pixels to normalised patches [B, 4 C, H / 2, W / 2]."""
    mean, deviation = _statistics(vae)
    patches = F.pixel_unshuffle(vae.encode(pixels).latent_dist.mode(), 2)
    return (patches - mean) / deviation


def decode(vae: Any, patches: Tensor) -> Tensor:
    """Decode normalised patches: the inverse of `encode`."""
    mean, deviation = _statistics(vae)
    return decode_vae(vae, F.pixel_shuffle(patches * deviation + mean, 2))


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation [1, 4 C, 1, 1] of the patches' channels."""
    mean, variance = (part.view(1, -1, 1, 1) for part in (vae.bn.running_mean, vae.bn.running_var))
    return mean, (variance + vae.config.batch_norm_eps).sqrt()


FAMILY = Family(
    space="latent",
    components={
        "tokenizer": ("Qwen2Tokenizer", "Qwen2TokenizerFast"),
        "text_encoder": ("Qwen3ForCausalLM",),
        "transformer": ("Flux2Transformer2DModel",),
        "vae": ("AutoencoderKLFlux2",),
        "scheduler": (),
    },
    embed=embed,
    call=call,
    encode=encode,
    decode=decode,
    scaled=False,
    patch=2,
    pixels=512,
    max_tokens=512,
    distilled="is_distilled",
    any_size=True,
)
