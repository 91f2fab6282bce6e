"""The settings of one stage, and the defaults of both.

The docstring under a field is its documentation, and its comment in params.yaml (params_file.py).
"""

from typing import Literal

from pydantic import Field, model_validator

from stabledreamer_core.settings.distillation import (
    NEGATIVE_PROMPT,
    Annealing,
    Inversion,
    Reward,
    Variational,
    ViewBias,
)
from stabledreamer_core.settings.scene import Cameras, Density, LearningRates, Regularizers
from stabledreamer_core.settings.section import Pair, Section


class Stage(Section):
    """One stage of optimisation against one prior."""

    prior: str = Field(default="priors/toybox-if", min_length=1)
    """A diffusers pipeline: a local folder or a hub id (params/paper.yaml)."""
    revision: str | None = None
    """A hub id's pinned commit."""
    variant: str | None = None
    """The weights' variant, such as fp16."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """auto: float32 on a CPU, else what the prior suggests; float32, float16, bfloat16."""
    embeddings: str | None = None
    """A file of the prompts' embeddings, in place of the text encoder (docs/real-weights.md)."""
    engine: Literal["torch", "openvino"] = "torch"
    """torch, or openvino, which runs the UNet on a CPU in dtype (docs/running.md)."""
    iterations: int = Field(default=900, ge=0, le=1_000_000)
    """Steps; every `target_reuse`-th asks the prior."""
    views: int = Field(default=2, ge=1, le=256)
    """Cameras a step."""
    resolution: int = Field(default=64, ge=8, le=2048)
    """Side of a render in pixels: what the prior was trained on."""
    coarse_resolution: int = Field(default=0, ge=0, le=2048)
    """The same in the first half of the stage, before detail counts; 0: as in the second."""
    supersampling: int = Field(default=1, ge=1, le=8)
    """n: rendered n times larger along each side, then averaged."""
    view_words: Literal["none", "four", "eight"] = "eight"
    """none, four (front, side, back, overhead) or eight directions."""
    guidance_scale: float = Field(default=2.0, ge=1.0, le=1000.0)
    """s in uncond + s (cond - uncond)."""
    guidance_rescale: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share by which the standard deviation is brought back to the conditional one."""
    guidance_interval: Pair = (0.0, 1.0)
    """Noise levels that are guided; elsewhere one call, not two."""
    weighting: Literal["sds", "uniform", "x0"] = "x0"
    """w(t): x0, sds or uniform (distillation/loss.py, l2_weight)."""
    x0_limit: Literal["none", "clamp", "dynamic"] = "clamp"
    """How x0_hat is kept within [-1, 1]: none, clamp or dynamic."""
    target_space: Literal["prior", "decoded", "image", "pulled_back"] = "prior"
    """Where they meet: prior, decoded, image or pulled_back (distillation/loss_space.py)."""
    noise: Literal["random", "inverted", "object"] = "random"
    """random (SDS), inverted (SDI) or object (CFD), consistent between views (docs/targets.md)."""
    noise_fresh: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of random noise in that of inverted and object."""
    inversion: Inversion = Inversion()
    target: Literal[
        "one_step",
        "many_steps",
        "interval",
        "classifier",
        "noise_free",
        "shifted",
        "variational",
    ] = "one_step"
    """one_step (SDS), many_steps, interval (ISM), classifier (CSD), noise_free (NFSD), shifted
    (ASD) or variational (VSD): what a render is pulled towards (docs/targets.md)."""
    target_steps: int = Field(default=5, ge=1, le=1000)
    """many_steps only: deterministic denoising steps, each a call of the prior."""
    interval: float = Field(default=0.05, gt=0.0, le=1.0)
    """interval only: noise levels between its two points."""
    shift: float = Field(default=0.1, gt=0.0, le=1.0)
    """shifted only: how much later a timestep is told, as a share of it."""
    generative_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """classifier only: share of SDS's generative term that stays; 1 is one_step."""
    negative_prompt: str = NEGATIVE_PROMPT
    """noise_free only: what its noise is told by."""
    variational: Variational = Variational()
    view_bias: ViewBias = ViewBias()
    target_reuse: int = Field(default=3, ge=1)
    """Steps for each new target, as a render is cheap: only the first of them asks the prior."""
    targets_kept: int = Field(default=30, ge=1, le=1000)
    """Newest targets to keep, of those made so far at most half; a step without a new one takes one
    of them by lot."""
    reward: Reward = Reward()
    annealing: Annealing = Annealing()
    cameras: Cameras = Cameras()
    anisotropic: bool = True
    """false holds the three axes of every Gaussian equal, for comparison."""
    background: Literal["random", "white", "grey", "black"] = "random"
    """random, white, grey or black."""
    learning_rates: LearningRates = LearningRates()
    adam_betas: Pair = (0.9, 0.99)
    """Decay of the first and the second moment."""
    density: Density = Density()
    regularizers: Regularizers = Regularizers()

    @model_validator(mode="after")
    def _ordered(self) -> "Stage":
        if not 0.0 <= self.guidance_interval[0] <= self.guidance_interval[1] <= 1.0:
            raise ValueError("guidance_interval must be [low, high] within [0, 1]")
        if self.coarse_resolution and not 8 <= self.coarse_resolution <= self.resolution:
            raise ValueError("coarse_resolution must be 0, or from 8 to resolution")
        if self.reward.samples > 1 and self.noise == "inverted" and self.noise_fresh == 0.0:
            raise ValueError(
                "reward.samples above 1 needs noises that differ, which inverted ones do not: set"
                " noise_fresh above 0"
            )
        if self.view_words == "none" and self.view_bias.words:
            raise ValueError(
                f"view_bias.{self.view_bias.words[0]} needs view words: set view_words to four or"
                " eight"
            )
        if self.view_bias.perp_neg > 0.0 and self.guidance_scale == 1.0:
            raise ValueError("view_bias.perp_neg is part of guidance: set guidance_scale above 1")
        if self.target == "variational" and self.engine == "openvino":
            raise ValueError(
                "engine openvino cannot train the LoRA of target variational: set engine to torch"
            )
        return self

    def render_resolution(self, progress: float) -> int:
        """Side in pixels of the rasterised images at `progress` in [0, 1] through the stage."""
        coarse = self.coarse_resolution if progress < 0.5 else 0
        return (coarse or self.resolution) * self.supersampling


LATENT_STAGE = Stage(  # what is left of noise at the end is fur, so rates are low and fall
    prior="priors/toybox-sd",
    iterations=448,
    resolution=256,
    x0_limit="none",
    target_space="decoded",
    target_reuse=4,
    targets_kept=80,
    annealing=Annealing(schedule="linear", t_max=(0.6, 0.03), t_min=(0.02, 0.02)),
    learning_rates=LearningRates(
        means=(1.5e-3, 1.0e-4),
        scales=(1.2e-2, 8.0e-4),
        quats=(3.0e-3, 3.0e-4),
        opacities=(3.0e-2, 2.0e-3),
        colors=(3.0e-2, 2.0e-3),
    ),
    density=Density(start_count=28000, max_count=80000),
    regularizers=Regularizers(opacity=0.0, scale_limit=0.1),
)
StageName = Literal["stage1", "stage2"]
STAGES: tuple[StageName, ...] = ("stage1", "stage2")
