"""The autoencoder of `toybox-sd`: 128x128 images to 32x32 latents and back."""

import math
import random
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from stabledreamer_core.errors import UserError
from toybox.training.augment import unfinished
from toybox.training.device import autocast, prepare
from toybox.training.export import half, replace_folder
from toybox.training.figures import earlier_training, record_training
from toybox.training.loop import Losses, Slice, Task, train
from toybox.training.losses import normal_kl
from toybox.training.models import autoencoder
from toybox.training.renders import Draw, renders
from toybox.training.settings import Training
from toybox.training.state import Counters, fingerprint


def train_vae(
    settings: Training,
    slice_: Slice,
    device: torch.device,
    folder: Path,
    warm_start: Path | None = None,
) -> Counters:
    """Train the autoencoder for a slice and leave it in `folder`/vae.

    Args:
        warm_start: a finished pipeline folder whose autoencoder to begin with.

    Raises:
        UserError: the decoder alone is to be trained, of no autoencoder.
    """
    vae = settings.vae
    model = _build(settings, warm_start).to(device).train()
    if vae.decoder_only:
        for part in (model.encoder, model.quant_conv):
            part.requires_grad_(False)
    for part in (model.encoder, model.decoder):
        prepare(part, vae.optim.compile, device)
    draw = renders(settings, device)
    earlier = earlier_training(warm_start, "vae")

    def loss(step: int, generator: torch.Generator) -> Losses:
        clean, scenes = draw(vae.optim.batch, vae.resolution, generator)
        images = unfinished(clean, scenes.background, vae.unfinished, generator)
        images = crop(images, vae.crop or vae.resolution, generator)
        x = (2.0 * images - 1.0).contiguous(memory_format=torch.channels_last)
        with autocast(device):
            mean, logvar = moments(model, x)
            noise = torch.randn(mean.shape, generator=generator, device=device)
            z = mean + (0.5 * logvar).exp() * noise
            decoded = decode(model, z).float()
        zero = torch.zeros_like(mean)
        kl = normal_kl(mean, logvar, zero, zero).mean()
        l1, mse = F.l1_loss(decoded, x), F.mse_loss(decoded, x)
        edges = edge_l1(decoded, x)
        total = l1 + vae.mse_weight * mse + vae.edge_weight * edges + vae.kl_weight * kl
        if vae.contrast_weight:
            total = total + vae.contrast_weight * contrast_l1(decoded, x)
        return {"loss": total, "l1": l1, "mse": mse, "kl": kl}

    def export(average: Any, counters: Counters) -> None:
        if not vae.decoder_only:
            scale = 1.0 / latent_std(average, draw, vae.resolution, device)
            average.register_to_config(scaling_factor=round(scale, 5))
        replace_folder(folder / "vae", half(average).save_pretrained)
        record_training(folder, "vae", counters, vae.optim, device, earlier)

    task = Task(model, loss, export, fingerprint(settings, vae), settings.seed)
    return train(task, vae.optim, slice_, device)


def moments(vae: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance [n, c, h, w] float32 of the latents of images in [-1, 1]."""
    hidden = vae.encoder(x)
    hidden = hidden if vae.quant_conv is None else vae.quant_conv(hidden)
    mean, logvar = hidden.float().chunk(2, dim=1)
    return mean, logvar.clamp(-30.0, 20.0)


def decode(vae: Any, z: Tensor) -> Tensor:
    """Images in [-1, 1] from latents that are not scaled."""
    z = z if vae.post_quant_conv is None else vae.post_quant_conv(z)
    image: Tensor = vae.decoder(z)
    return image


def edge_l1(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute distance between the differences of neighbouring pixels."""
    error = first - second
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def contrast_l1(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute distance between the local contrasts: root mean squares of the differences of
    neighbouring pixels in windows of 8 pixels. Blur lowers it wherever an edge is."""

    def contrast(images: Tensor) -> Tensor:
        across, down = images.diff(dim=-1)[..., :-1, :], images.diff(dim=-2)[..., :-1]
        return (F.avg_pool2d(across.square() + down.square(), 8, stride=4) + 1e-5).sqrt()

    return F.l1_loss(contrast(first), contrast(second))


def crop(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """The square [n, 3, side, side] that the generator's seed picks; all of smaller ones."""
    room = images.shape[-1] - side
    if room <= 0:
        return images
    drawn = random.Random(generator.initial_seed())  # of this step; nothing waits for the device
    y, x = drawn.randint(0, room), drawn.randint(0, room)
    return images[..., y : y + side, x : x + side]


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """[n] peak signal-to-noise ratio in dB of images in [0, 1]."""
    mse = (first - second).square().flatten(1).mean(1)
    return -10.0 / math.log(10.0) * mse.clamp(min=1e-12).log()


@torch.no_grad()
def latent_std(vae: Any, draw: Draw, resolution: int, device: torch.device) -> float:
    """Standard deviation of all latent numbers of 512 clean renders, about their overall mean."""
    generator = torch.Generator(device).manual_seed(1)
    means = []
    for _ in range(8):
        images, _ = draw(64 if device.type == "cuda" else 2, resolution, generator)
        with autocast(device):
            means.append(moments(vae, 2.0 * images - 1.0)[0])
    return float(torch.cat(means).std())


@torch.no_grad()
def reconstruction(vae: Any, images: Tensor) -> Tensor:
    """Images in [0, 1] [n, 3, h, w] encoded to the posterior's mean and decoded again."""
    mean, _ = moments(vae, 2.0 * images.to(vae.dtype) - 1.0)
    return (0.5 * decode(vae, mean.to(vae.dtype)).float() + 0.5).clamp(0.0, 1.0)


def _build(settings: Training, warm_start: Path | None) -> Any:
    if warm_start is not None:
        return AutoencoderKL.from_pretrained(warm_start / "vae")
    if settings.vae.decoder_only:
        raise UserError("vae.decoder_only needs an autoencoder to begin with: --warm-start FOLDER")
    torch.manual_seed(settings.seed + 1)
    return autoencoder(settings.vae)
