"""PRX (rectified flow on latents) and PRXPixel (on pixels: it predicts x0, and its noise is twice
as strong)."""

import sys
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.priors.families.family import T5, Family, encode_kl, split_mask, with_mask
from stabledreamer_core.priors.families.sana import encode as encode_dc

GEMMA = ("GemmaTokenizer", "GemmaTokenizerFast")
QWEN = ("Qwen2Tokenizer", "Qwen2TokenizerFast")


def embed(pipeline: Any, prompt: str, device: torch.device) -> Tensor:
    """Embed a prompt: [L, D], and its mask."""
    tokens, mask, _, _ = pipeline.encode_prompt([prompt], device, do_classifier_free_guidance=False)
    return with_mask(tokens[0], mask[0])


def call(transformer: Any, x_t: Tensor, told: Tensor, embeddings: Tensor) -> Tensor:
    """Ask the transformer."""
    tokens, mask = split_mask(embeddings)
    output: Tensor = transformer(
        hidden_states=x_t,
        timestep=told / 1000,
        encoder_hidden_states=tokens,
        attention_mask=mask.bool(),
        return_dict=False,
    )[0]
    return output


def encode(vae: Any, pixels: Tensor) -> Tensor:
    """Encode pixels by either kind of autoencoder."""
    return (encode_dc if hasattr(vae, "spatial_compression_ratio") else encode_kl)(vae, pixels)


def prepare() -> None:
    """Let transformers have the class that some of PRX's files name in it.

    diffusers lends it, but to a module that transformers replaces while that class is imported.
    """
    from diffusers.pipelines.prx import T5GemmaEncoder

    module = sys.modules["transformers"]
    if not hasattr(module, "T5GemmaEncoder"):
        setattr(module, "T5GemmaEncoder", T5GemmaEncoder)  # noqa: B010


LATENT = Family(
    space="latent",
    components={
        "tokenizer": (*T5, *GEMMA),
        "text_encoder": ("T5GemmaEncoder",),
        "transformer": ("PRXTransformer2DModel",),
        "vae": ("AutoencoderKL", "AutoencoderDC"),
        "scheduler": (),
    },
    embed=embed,
    call=call,
    encode=encode,
    pixels=512,
    any_size=True,
    prepare=prepare,
    libraries=("prx", "diffusers"),  # what its conversion, and what `save_pretrained`, say
)

PIXEL = replace(
    LATENT,
    space="pixel",
    components={
        "tokenizer": QWEN,
        "text_encoder": ("Qwen3VLTextModel",),
        "transformer": ("PRXTransformer2DModel",),
        "scheduler": (),
    },
    pixels=1024,
    prediction_type="sample",
    noise_scale=2.0,
    prepare=None,
)
