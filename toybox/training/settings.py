"""Settings of the priors' training: the section `training` of settings.yaml, typed and frozen."""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stabledreamer_core.errors import UserError

Fraction = Field(ge=0.0, le=1.0)
Count = Field(ge=1)
SETTINGS = Path(__file__).with_name("settings.yaml")  # every value


class Section(BaseModel):
    """Frozen, complete, nothing unknown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Captions(Section):
    """How the caption of a training render is drawn."""

    empty: float = Fraction
    """Share of renders shown without any words (classifier-free guidance)."""
    plain: float = Fraction
    """Of the others, the share whose caption says nothing about the view."""
    coarse: float = Fraction
    """Share with the four coarse view words; what remains gets the eight directions."""
    wrong: float = Field(default=0.0, ge=0.0, le=1.0)
    """Of the captions with view words, the share whose words name another direction."""

    @model_validator(mode="after")
    def _shares_of_one(self) -> Self:
        if self.plain + self.coarse > 1.0 + 1e-9:
            raise ValueError(f"plain and coarse are {self.plain + self.coarse:g} together, over 1")
        return self


class Optim(Section):
    """The optimiser and its schedule, and how often the loop saves."""

    steps: int = Count
    """Length of the whole training over all its slices."""
    batch: int = Count
    """Images a step (and GPU)."""
    lr: float = Field(gt=0.0)
    """AdamW's rate between warm-up and cool-down."""
    final_lr: float = Fraction
    """What is left of it at the end."""
    warmup_steps: int = Field(ge=0)
    """Steps over which the rate grows from 0."""
    cooldown: float = Fraction
    """Share of the steps, at the end, over which it falls in a straight line."""
    weight_decay: float = Field(ge=0.0)
    """AdamW's decoupled decay of matrices and kernels; biases and gains have none."""
    grad_clip: float = Field(gt=0.0)
    """Largest norm of the whole gradient."""
    ema_decay: float = Field(ge=0.0, lt=1.0)
    """Ceiling of the averaged weights' decay, reached as (1 + step) / (10 + step)."""
    compile: bool
    """Compile the network with torch.compile (GPU only)."""
    log_every: int = Count
    """Steps between two lines of the log; the GPU is waited for only there."""
    save_every_s: float = Field(gt=0.0)
    """Seconds between two saved training states."""
    export_every_s: float = Field(gt=0.0)
    """Seconds between two exports of the averaged weights."""


class Text(Section):
    """A small transformer over the caption."""

    width: int = Count
    """Numbers a token."""
    layers: int = Count
    """Transformer blocks."""
    heads: int = Count
    """Attention heads; they share the width."""
    feed_forward: int = Count
    """Width inside a block's feed-forward part."""


class Diffusion(Section):
    """What the pixel and the latent prior's training have in common."""

    resolution: int = Count
    """Side of the image in pixels."""
    channels: tuple[int, ...]
    """Width of the U-Net at each level, finest first."""
    layers_per_block: int = Count
    """Residual blocks a level."""
    norm_groups: int = Count
    """Groups of its group norms."""
    text: Text
    """The text encoder."""
    min_snr_gamma: float = Field(gt=0.0)
    """Loss weight min(SNR, gamma) / SNR (Hang et al. 2023, arXiv 2303.09556)."""
    vlb_weight: float = Field(ge=0.0)
    """Weight of the variational bound in the hybrid loss (arXiv 2102.09672, equation 16)."""
    optim: Optim
    """The optimiser."""


class Pixel(Diffusion):
    """The pixel prior, `toybox-if`."""

    attention_levels: int = Count
    """How many of the lowest levels attend to the words."""
    head_dim: int = Count
    """Channels an attention head."""


class Latent(Diffusion):
    """The latent prior of `toybox-sd`."""

    attention_levels: int = Count
    """How many of the lowest levels attend to the words."""
    heads: int = Count
    """Attention heads a block."""


class Flow(Section):
    """The flow twin of the pixel prior, `toybox-flow`."""

    resolution: int = Count
    """Side of the image in pixels."""
    patch: int = Count
    """Side of a patch, the transformer's token, in pixels."""
    width: int = Count
    """Numbers a token."""
    depth: int = Count
    """Transformer blocks."""
    heads: int = Count
    """Attention heads; they share the width, each at least 4 numbers."""
    mlp_ratio: float = Field(gt=0.0)
    """Width inside a block's feed-forward part, as a multiple of the token's."""
    text: Text
    """The text encoder."""
    prompt_tokens: int = Count
    """Tokens a caption is padded or cut to."""
    noise_scale: float = Field(ge=0.1, le=10.0)
    """Standard deviation of the noise at s = 1."""
    logit_mean: float
    """Mean of logit(s), s the noise level of a training image (Esser et al. 2024)."""
    logit_std: float = Field(gt=0.0)
    """Standard deviation of logit(s)."""
    shift: float = Field(gt=0.0)
    """Of the steps of ordinary sampling towards noise (Esser et al. 2024, equation 23)."""
    optim: Optim
    """The optimiser."""


class Vae(Section):
    """The autoencoder of `toybox-sd`."""

    resolution: int = Count
    """Side of the image in pixels; the latent's is that over 2^(levels - 1)."""
    channels: tuple[int, ...]
    """Width of encoder and decoder at each level, finest first."""
    layers_per_block: int = Count
    """Residual blocks a level."""
    latent_channels: int = Count
    """Channels of the latent."""
    attention: bool
    """Self-attention at the coarsest level; without it the autoencoder is convolutions alone."""
    norm_groups: int = Count
    """Groups of its group norms."""
    mse_weight: float = Field(ge=0.0)
    """Weight of the squared error beside the absolute one."""
    edge_weight: float = Field(ge=0.0)
    """Weight of the L1 distance between differences of neighbouring pixels."""
    contrast_weight: float = Field(ge=0.0)
    """Weight of the L1 distance between local contrasts: means of squared errors blur, this not."""
    kl_weight: float = Field(ge=0.0)
    """Weight of the KL divergence to a unit normal, nats a latent number."""
    crop: int = Field(ge=0)
    """Side of the random square of each render that is trained on; 0: all of it."""
    decoder_only: bool
    """Train the decoder alone, so that latents, and a prior of them, stay as they are."""
    unfinished: float = Fraction
    """Share of inputs made to look like unfinished renders (blurred, faded, noisy)."""
    optim: Optim
    """The optimiser."""


class Judge(Section):
    """The judge, `toybox-judge`."""

    resolution: int = Count
    """Side of the image it looks at; others are resized to it."""
    channels: tuple[int, ...]
    """Width at each level, finest first."""
    hidden: int = Count
    """Width of the layer all its answers read."""
    norm_groups: int = Count
    """Groups of its group norms."""
    negatives: float = Fraction
    """Share of training images that show no object."""
    render_resolutions: tuple[int, ...]
    """Renders are made at one of these and resized."""
    optim: Optim
    """The optimiser."""


class Samples(Section):
    """How finished priors are sampled and scored."""

    count: int = Count
    """Samples the scores are means of."""
    batch: int = Count
    """Samples drawn together."""
    guidance_scale: float = Field(ge=1.0)
    """Classifier-free guidance, uncond + s (cond - uncond)."""
    steps: int = Count
    """Denoising steps of the pipeline's own scheduler."""
    sheet: int = Field(ge=0)
    """Pictures on the contact sheet."""


class Training(Section):
    """The whole section."""

    seed: int = Field(ge=0)
    """Seed of the networks' start and of every step."""
    shape_seed: int = Field(ge=0)
    """Seed of the bank of shapes."""
    variations: int = Count
    """Shapes a category in the bank."""
    samples_per_axis: int = Count
    """Rays a pixel of the training renders, per axis."""
    jelly_density: float = Field(ge=0.0)
    """Optical depth a unit of length of toys made of clear jelly; 0 for solid ones."""
    front_share: float = Fraction
    """Share of renders taken from the front, as of a photographer's; the rest from anywhere."""
    captions: Captions
    """How captions are drawn."""
    pixel: Pixel
    """The pixel prior."""
    flow: Flow
    """Its flow twin."""
    vae: Vae
    """The autoencoder."""
    latent: Latent
    """The latent prior."""
    judge: Judge
    """The judge."""
    samples: Samples
    """Sampling and scoring."""


def load_training(params_file: Path, overrides: list[str] | None = None) -> Training:
    """The section `training` of a params file, with `a.b=value` overrides inside the section.

    Raises:
        UserError: no such file or section, an unknown key or a value of the wrong kind.
    """
    try:
        document = yaml.safe_load(params_file.read_text())
    except OSError as error:
        raise UserError(f"cannot read {params_file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{params_file} is not valid YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("training"), dict):
        raise UserError(f"{params_file} has no section `training`")
    return parse_training(document["training"], overrides)


def parse_training(section: dict[str, Any], overrides: list[str] | None = None) -> Training:
    """A plain dict (the section `training`) as typed settings.

    Raises:
        UserError: an unknown key, a missing one, or a value of the wrong kind; names the key.
    """
    for override in overrides or []:
        section = _override(section, override)
    try:
        return Training.model_validate(section)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in ("training", *first["loc"]))
        raise UserError(f"{key}: {first['msg']} (got {first['input']!r})") from error


def _override(section: dict[str, Any], override: str) -> dict[str, Any]:
    """`section` with one `a.b=value` applied, copied along the way."""
    key, equals, text = override.removeprefix("training.").partition("=")
    if not equals:
        raise UserError(f"--set {override}: write it as key=value")
    copy = dict(section)
    *path, last = key.split(".")
    node: dict[str, Any] = copy
    for part in path:
        if not isinstance(node.get(part), dict):
            raise UserError(f"--set {override}: there is no section {part!r}")
        node[part] = dict(node[part])
        node = node[part]
    if last not in node:
        raise UserError(f"--set {override}: there is no key {last!r}")
    node[last] = yaml.safe_load(text)
    return copy
