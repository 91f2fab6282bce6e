"""Stable Diffusion XL (Podell et al. 2023): two CLIPs, and the size of the picture as conditions.

Its VAE overflows float16; `models.vae_dtype` runs it in bfloat16.
"""

from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.priors.families.family import CLIP, Family, split_rows, with_rows

TIME_IDS = 6  # original size, crop, target size


def embed(pipeline: Any, prompt: str, device: torch.device) -> Tensor:
    """Embed a prompt: [77, D], and its pooled vector; the empty one is zeros where it was so."""
    tokens, _, pooled, _ = pipeline.encode_prompt(
        prompt=[prompt], device=device, do_classifier_free_guidance=False
    )
    if not prompt and pipeline.config.force_zeros_for_empty_prompt:
        tokens, pooled = torch.zeros_like(tokens), torch.zeros_like(pooled)
    return with_rows(tokens[0], pooled[0])


def call(unet: Any, x_t: Tensor, told: Tensor, embeddings: Tensor) -> Tensor:
    """Ask the UNet for a whole picture of the size that it was trained for."""
    config = unet.config
    width = config.projection_class_embeddings_input_dim - TIME_IDS * config.addition_time_embed_dim
    tokens, pooled = split_rows(embeddings, width)
    side = x_t.new_full((len(x_t), 2), 8.0 * x_t.shape[-1])
    ids = torch.cat([side, torch.zeros_like(side), side], 1)
    output: Tensor = unet(
        x_t,
        told,
        encoder_hidden_states=tokens,
        added_cond_kwargs={"text_embeds": pooled, "time_ids": ids},
        return_dict=False,
    )[0]
    return output


FAMILY = Family(
    space="latent",
    components={
        "tokenizer": CLIP,
        "tokenizer_2": CLIP,
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "scheduler": (),
    },
    embed=embed,
    call=call,
    denoiser="unet",
    max_tokens=77,
    any_size=True,
)
