"""Stable Diffusion 3 and 3.5: a transformer trained by rectified flow (Esser et al. 2024).

Two CLIPs and T5 are joined to one sequence; the CLIPs' pooled vectors go beside it.
"""

from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.priors.families.family import CLIP, T5, Family, split_rows, with_rows


def embed(pipeline: Any, prompt: str, device: torch.device) -> Tensor:
    """Embed a prompt: [77 + 256, D], and its pooled vector."""
    tokens, _, pooled, _ = pipeline.encode_prompt(
        prompt=[prompt],
        prompt_2=None,
        prompt_3=None,
        device=device,
        do_classifier_free_guidance=False,
    )
    return with_rows(tokens[0], pooled[0])


def call(transformer: Any, x_t: Tensor, told: Tensor, embeddings: Tensor) -> Tensor:
    """Ask the transformer."""
    tokens, pooled = split_rows(embeddings, transformer.config.pooled_projection_dim)
    output: Tensor = transformer(
        hidden_states=x_t,
        timestep=told,
        encoder_hidden_states=tokens,
        pooled_projections=pooled,
        return_dict=False,
    )[0]
    return output


FAMILY = Family(
    space="latent",
    components={
        "tokenizer": CLIP,
        "tokenizer_2": CLIP,
        "tokenizer_3": T5,
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "text_encoder_3": ("T5EncoderModel",),
        "transformer": ("SD3Transformer2DModel",),
        "vae": ("AutoencoderKL",),
        "scheduler": (),
    },
    embed=embed,
    call=call,
    max_tokens=256,
)
