"""The pixel prior `toybox-if`: a small DeepFloyd IF, its T5 trained along with it."""

from pathlib import Path
from typing import Any

import torch
from diffusers import IFPipeline, UNet2DConditionModel
from torch import nn
from transformers import T5EncoderModel, T5Tokenizer

from toybox.training.device import autocast, prepare
from toybox.training.export import half, write_pipeline
from toybox.training.figures import earlier_training, record_training
from toybox.training.loop import Losses, Slice, Task, train
from toybox.training.losses import (
    add_noise,
    min_snr_weight,
    stratified_timesteps,
    variance_bound,
    weighted_mse,
)
from toybox.training.models import pixel_scheduler, pixel_unet, t5_encoder
from toybox.training.renders import captioned
from toybox.training.settings import Training
from toybox.training.state import Counters, fingerprint
from toybox.training.tokenizers import t5_tokenizer
from toybox.training.vocabulary import tokenize_all


def train_pixel(
    settings: Training,
    slice_: Slice,
    device: torch.device,
    folder: Path,
    warm_start: Path | None = None,
) -> Counters:
    """Train the pixel prior for a slice and leave it in `folder`.

    Args:
        warm_start: a finished folder whose weights to begin with, where there is no saved state.
    """
    pixel = settings.pixel
    # 1. Networks, and the tokens of every caption.
    tokenizer, model = _build(settings, warm_start)
    model.to(device).train()
    prepare(model["unet"], pixel.optim.compile, device)
    draw = captioned(settings, device)
    earlier = earlier_training(warm_start, "pixel")
    tokens = tokenize_all(tokenizer, device)
    scheduler: Any = pixel_scheduler()
    alphas_cumprod = scheduler.alphas_cumprod.to(device)

    # 2. One step's loss.
    def loss(step: int, generator: torch.Generator) -> Losses:
        x, rows = draw(pixel.optim.batch, pixel.resolution, generator)
        timesteps = stratified_timesteps(len(x), len(alphas_cumprod), generator)
        noise = torch.randn(x.shape, generator=generator, device=device)
        abar = alphas_cumprod[timesteps]
        x_t = add_noise(x, noise, abar)
        with autocast(device):
            words = model["text_encoder"](tokens.ids[rows], attention_mask=tokens.mask[rows])
            output = model["unet"](x_t, timesteps, words.last_hidden_state).sample
        eps, fraction = output.float().chunk(2, dim=1)
        mse = weighted_mse(eps, noise, min_snr_weight(abar, pixel.min_snr_gamma))
        bound = variance_bound(x, x_t, eps, fraction, timesteps, alphas_cumprod).mean()
        total = mse + pixel.vlb_weight * len(alphas_cumprod) * bound
        return {"loss": total, "mse": mse, "vlb": bound}

    # 3. Run the loop; it exports the averaged weights.
    def export(average: nn.Module, counters: Counters) -> None:
        write_pipeline(_pipeline(average, tokenizer), folder)
        record_training(folder, "pixel", counters, pixel.optim, device, earlier)

    print_ = fingerprint(settings, settings.captions, pixel)
    task = Task(model, loss, export, print_, settings.seed)
    return train(task, pixel.optim, slice_, device)


def _build(settings: Training, warm_start: Path | None) -> tuple[T5Tokenizer, nn.ModuleDict]:
    """The tokenizer and {"unet", "text_encoder"}, new or from a finished folder."""
    if warm_start is not None:
        tokenizer = T5Tokenizer.from_pretrained(warm_start / "tokenizer")
        text_encoder = T5EncoderModel.from_pretrained(
            warm_start / "text_encoder", dtype=torch.float32
        )
        unet = UNet2DConditionModel.from_pretrained(warm_start / "unet")
    else:
        torch.manual_seed(settings.seed)
        tokenizer = t5_tokenizer()
        text_encoder = t5_encoder(settings.pixel.text, tokenizer)
        unet = pixel_unet(settings.pixel)
    return tokenizer, nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})


def _pipeline(model: nn.Module, tokenizer: T5Tokenizer) -> IFPipeline:
    """The parts as the pipeline they are used by."""
    assert isinstance(model, nn.ModuleDict)
    return IFPipeline(
        tokenizer=tokenizer,
        text_encoder=half(model["text_encoder"]),
        unet=half(model["unet"]),
        scheduler=pixel_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )
