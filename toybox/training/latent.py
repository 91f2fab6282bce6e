"""The latent prior of `toybox-sd`: a small Stable Diffusion, its CLIP encoder trained along."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from stabledreamer_core.errors import UserError
from toybox.training.device import autocast, prepare
from toybox.training.export import half, write_pipeline
from toybox.training.figures import earlier_training, record_training
from toybox.training.loop import Losses, Slice, Task, train
from toybox.training.losses import (
    add_noise,
    min_snr_weight,
    stratified_timesteps,
    weighted_mse,
)
from toybox.training.models import clip_encoder, latent_scheduler, latent_unet
from toybox.training.renders import renders
from toybox.training.settings import Training
from toybox.training.state import Counters, fingerprint
from toybox.training.tokenizers import clip_tokenizer
from toybox.training.vae import moments
from toybox.training.vocabulary import draw_rows, tokenize_all


def train_latent(
    settings: Training,
    slice_: Slice,
    device: torch.device,
    folder: Path,
    warm_start: Path | None = None,
) -> Counters:
    """Train the latent prior for a slice on the autoencoder in `folder`/vae; leave all in `folder`.

    Args:
        warm_start: a finished folder whose weights to begin with, where there is no saved state;
            layers of another shape (its latents had other channels) begin anew.

    Raises:
        UserError: there is no autoencoder yet.
    """
    latent = settings.latent
    # 1. The frozen autoencoder, the networks, the tokens of every caption.
    if not (folder / "vae" / "config.json").exists():
        raise UserError(f"{folder}/vae is missing: train it first (python -m toybox.training vae)")
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae").requires_grad_(False)
    tokenizer, model = _build(settings, vae, warm_start)
    vae.to(device).eval()
    model.to(device).train()
    prepare(vae.encoder, latent.optim.compile, device)
    prepare(model["unet"], latent.optim.compile, device)
    draw = renders(settings, device)
    earlier = earlier_training(warm_start, "latent")
    tokens = tokenize_all(tokenizer, device)
    scheduler: Any = latent_scheduler()
    alphas_cumprod = scheduler.alphas_cumprod.to(device)
    scale = vae.config["scaling_factor"]

    # 2. One step's loss.
    def loss(step: int, generator: torch.Generator) -> Losses:
        images, scenes = draw(latent.optim.batch, latent.resolution, generator)
        pixels = (2.0 * images - 1.0).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), autocast(device):
            mean, logvar = moments(vae, pixels)
        drawn = torch.randn(mean.shape, generator=generator, device=device)
        z = scale * (mean + (0.5 * logvar).exp() * drawn)
        rows = draw_rows(
            scenes.toy_index,
            scenes.azimuth_deg,
            scenes.elevation_deg,
            settings.captions,
            generator,
        )
        timesteps = stratified_timesteps(len(z), len(alphas_cumprod), generator)
        noise = torch.randn(z.shape, generator=generator, device=device)
        abar = alphas_cumprod[timesteps]
        z_t = add_noise(z, noise, abar)
        with autocast(device):
            words = model["text_encoder"](tokens.ids[rows]).last_hidden_state
            eps = model["unet"](z_t, timesteps, words).sample
        mse = weighted_mse(eps.float(), noise, min_snr_weight(abar, latent.min_snr_gamma))
        return {"loss": mse}

    # 3. Run the loop; it exports the averaged weights.
    def export(average: nn.Module, counters: Counters) -> None:
        assert isinstance(average, nn.ModuleDict)
        pipeline = StableDiffusionPipeline(
            vae=half(vae),
            text_encoder=half(average["text_encoder"]),
            tokenizer=tokenizer,
            unet=half(average["unet"]),
            scheduler=latent_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        write_pipeline(pipeline, folder)
        record_training(folder, "latent", counters, latent.optim, device, earlier)

    print_ = fingerprint(settings, settings.captions, settings.vae, latent)
    task = Task(model, loss, export, print_, settings.seed)
    return train(task, latent.optim, slice_, device)


def _build(
    settings: Training, vae: AutoencoderKL, warm_start: Path | None
) -> tuple[CLIPTokenizer, nn.ModuleDict]:
    """The tokenizer and {"unet", "text_encoder"}, new or from a finished folder."""
    if warm_start is not None:
        tokenizer = CLIPTokenizer.from_pretrained(warm_start / "tokenizer")
        text_encoder = CLIPTextModel.from_pretrained(
            warm_start / "text_encoder", dtype=torch.float32
        )
        unet: Any = latent_unet(settings.latent, vae)
        before: Any = UNet2DConditionModel.from_pretrained(warm_start / "unet")
        fit(unet, before)
    else:
        torch.manual_seed(settings.seed + 2)
        tokenizer = clip_tokenizer()
        text_encoder = clip_encoder(settings.latent.text, tokenizer)
        unet = latent_unet(settings.latent, vae)
    return tokenizer, nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})


def fit(network: nn.Module, other: nn.Module) -> int:
    """Take over every weight of `other` that has the same name and shape; returns how many."""
    mine = network.state_dict()
    taken = {k: v for k, v in other.state_dict().items() if k in mine and v.shape == mine[k].shape}
    network.load_state_dict(taken, strict=False)
    return len(taken)
