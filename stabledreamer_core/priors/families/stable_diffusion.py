"""Stable Diffusion 1.x and 2.x: a UNet on the latents of a VAE (Rombach et al. 2022)."""

from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.priors.families.family import CLIP, T5, Family


def embed(pipeline: Any, prompt: str, device: torch.device) -> Tensor:
    """Embed a prompt with the pipeline's own text encoder: [L, D]."""
    encoded, _ = pipeline.encode_prompt(
        prompt=[prompt],
        device=device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )
    tokens: Tensor = encoded[0]
    return tokens


def call(unet: Any, x_t: Tensor, told: Tensor, embeddings: Tensor) -> Tensor:
    """Ask the UNet."""
    output: Tensor = unet(x_t, told, encoder_hidden_states=embeddings, return_dict=False)[0]
    return output


FAMILY = Family(
    space="latent",
    components={
        "tokenizer": (*CLIP, *T5),
        "text_encoder": ("CLIPTextModel", "T5EncoderModel"),
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "scheduler": (),
    },
    embed=embed,
    call=call,
    denoiser="unet",
    openvino=True,
    any_size=True,
)
