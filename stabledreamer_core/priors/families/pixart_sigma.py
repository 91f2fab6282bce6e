"""PixArt-Sigma (Chen et al. 2024): a transformer on SDXL's latents, read by T5 with a mask."""

from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.priors.families.family import T5, Family, split_mask, with_mask


def embed(pipeline: Any, prompt: str, device: torch.device) -> Tensor:
    """Embed a prompt: [300, D], and its mask."""
    tokens, mask, _, _ = pipeline.encode_prompt(
        prompt=[prompt], device=device, do_classifier_free_guidance=False
    )
    return with_mask(tokens[0], mask[0])


def call(transformer: Any, x_t: Tensor, told: Tensor, embeddings: Tensor) -> Tensor:
    """Ask the transformer, which learned its variance as well."""
    tokens, mask = split_mask(embeddings)
    output: Tensor = transformer(
        x_t,
        encoder_hidden_states=tokens,
        encoder_attention_mask=mask,
        timestep=told,
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        return_dict=False,
    )[0]
    return output


FAMILY = Family(
    space="latent",
    components={
        "tokenizer": T5,
        "text_encoder": ("T5EncoderModel",),
        "transformer": ("PixArtTransformer2DModel", "Transformer2DModel"),
        "vae": ("AutoencoderKL",),
        "scheduler": (),
    },
    embed=embed,
    call=call,
    max_tokens=300,
)
