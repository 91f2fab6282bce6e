"""The flow prior `toybox-flow`: the pixel prior's twin, a small PRXPixel learnt by rectified flow.

The network is told s and predicts x0 of x_t = (1 - s) x0 + s noise_scale eps; the loss is the
velocity's squared error. Its Qwen text encoder is trained along with it.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import PRXPixelPipeline, PRXTransformer2DModel
from torch import nn
from transformers import Qwen2Tokenizer, Qwen3VLTextModel

from toybox.training.device import autocast, prepare
from toybox.training.export import half, write_pipeline
from toybox.training.figures import earlier_training, record_training
from toybox.training.loop import Losses, Slice, Task, train
from toybox.training.losses import (
    add_flow_noise,
    stratified_levels,
    velocity_weight,
    weighted_mse,
)
from toybox.training.models import flow_scheduler, flow_transformer, qwen_encoder
from toybox.training.renders import captioned
from toybox.training.settings import Flow, Training
from toybox.training.state import Counters, fingerprint
from toybox.training.tokenizers import qwen_tokenizer
from toybox.training.vocabulary import tokenize_all


def train_flow(
    settings: Training,
    slice_: Slice,
    device: torch.device,
    folder: Path,
    warm_start: Path | None = None,
) -> Counters:
    """Train the flow prior for a slice and leave it in `folder`.

    Args:
        warm_start: a finished folder whose weights to begin with, where there is no saved state.
    """
    flow = settings.flow
    # 1. Networks, and the tokens of every caption.
    tokenizer, model = _build(settings, warm_start)
    model.to(device).train()
    prepare(model["transformer"], flow.optim.compile, device)
    draw = captioned(settings, device)
    earlier = earlier_training(warm_start, "flow")
    tokens = tokenize_all(tokenizer, device, flow.prompt_tokens)

    # 2. One step's loss.
    def loss(step: int, generator: torch.Generator) -> Losses:
        x, rows = draw(flow.optim.batch, flow.resolution, generator)
        s = stratified_levels(len(x), flow.logit_mean, flow.logit_std, generator)
        noise = torch.randn(x.shape, generator=generator, device=device)
        x_t = add_flow_noise(x, noise, s, flow.noise_scale)
        mask = tokens.mask[rows].bool()
        words = model["text_encoder"](tokens.ids[rows], attention_mask=mask).last_hidden_state
        with autocast(device):  # not the words: casting so little takes longer than it saves
            x0_hat = model["transformer"](x_t, s, words, mask).sample.float()
        with torch.no_grad():
            x0_mse = (x0_hat - x).square().mean()
        return {"loss": weighted_mse(x0_hat, x, velocity_weight(s)), "x0": x0_mse}

    # 3. Run the loop; it exports the averaged weights.
    def export(average: nn.Module, counters: Counters) -> None:
        write_pipeline(flow_pipeline(average, tokenizer, flow), folder)
        record_training(folder, "flow", counters, flow.optim, device, earlier)

    print_ = fingerprint(settings, settings.captions, flow)
    task = Task(model, loss, export, print_, settings.seed)
    return train(task, flow.optim, slice_, device)


def _build(settings: Training, warm_start: Path | None) -> tuple[Qwen2Tokenizer, nn.ModuleDict]:
    """The tokenizer and {"transformer", "text_encoder"}, new or from a finished folder."""
    torch.manual_seed(settings.seed + 3)
    tokenizer = qwen_tokenizer(settings.flow.prompt_tokens)
    parts: dict[str, nn.Module] = {
        "transformer": flow_transformer(settings.flow),
        "text_encoder": qwen_encoder(settings.flow.text, tokenizer),
    }
    if warm_start is not None:
        tokenizer = Qwen2Tokenizer.from_pretrained(warm_start / "tokenizer")
        kinds: dict[str, Any] = {
            "transformer": PRXTransformer2DModel,
            "text_encoder": Qwen3VLTextModel,
        }
        for name, kind in kinds.items():
            parts[name].load_state_dict(kind.from_pretrained(warm_start / name).state_dict())
    return tokenizer, nn.ModuleDict(parts)


def flow_pipeline(model: nn.Module, tokenizer: Qwen2Tokenizer, flow: Flow) -> PRXPixelPipeline:
    """The parts as the pipeline they are used by."""
    assert isinstance(model, nn.ModuleDict)
    return PRXPixelPipeline(
        transformer=half(model["transformer"]),
        scheduler=flow_scheduler(flow),
        text_encoder=half(model["text_encoder"]),
        tokenizer=tokenizer,
        default_sample_size=flow.resolution,
        prompt_max_tokens=flow.prompt_tokens,
        noise_scale=flow.noise_scale,
    )
