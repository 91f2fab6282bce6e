"""Sana (Xie et al. 2024): rectified flow on the latents of a deep-compression autoencoder (32x)."""

import inspect
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.priors.families.family import Family, split_mask, with_mask


def embed(pipeline: Any, prompt: str, device: torch.device) -> Tensor:
    """Embed a prompt after the pipeline's own instruction to its language model: [300, D], a mask.

    The empty prompt goes without the instruction, as in the pipeline.
    """
    instruction = inspect.signature(type(pipeline).__call__).parameters["complex_human_instruction"]
    tokens, mask, _, _ = pipeline.encode_prompt(
        prompt=[prompt],
        device=device,
        do_classifier_free_guidance=False,
        complex_human_instruction=instruction.default if prompt else None,
    )
    return with_mask(tokens[0], mask[0])


def call(transformer: Any, x_t: Tensor, told: Tensor, embeddings: Tensor) -> Tensor:
    """Ask the transformer."""
    tokens, mask = split_mask(embeddings)
    output: Tensor = transformer(
        x_t,
        encoder_hidden_states=tokens,
        encoder_attention_mask=mask,
        timestep=told * transformer.config.timestep_scale,
        return_dict=False,
    )[0]
    return output


def encode(vae: Any, pixels: Tensor) -> Tensor:
    """Encode pixels; the autoencoder has no variance."""
    latents: Tensor = vae.encode(pixels).latent
    return latents


FAMILY = Family(
    space="latent",
    components={
        "tokenizer": ("GemmaTokenizer", "GemmaTokenizerFast"),
        "text_encoder": ("Gemma2Model",),
        "transformer": ("SanaTransformer2DModel",),
        "vae": ("AutoencoderDC",),
        "scheduler": (),
    },
    embed=embed,
    call=call,
    encode=encode,
    vae_memory=2.2,  # 512 pixels image by image: 2.7 GB of an H200's, where SD's take 1.3
    max_tokens=300,
)
