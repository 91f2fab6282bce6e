"""Settings: typed, frozen, with defaults; YAML files and `a.b=c` overrides are laid over them.

The docstring under a field is its documentation, and its comment in params.yaml (params_file.py).
Unknown keys and bad values are errors that name the key, the value and what is allowed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole
from stabledreamer_core.settings.describe import setting_meant
from stabledreamer_core.settings.output import Evaluate, Export, Mesh, Turntable
from stabledreamer_core.settings.yaml_text import MAX_DEPTH, parse_yaml

MAX_BYTES = 2**20
MAX_VALUE_CHARS = 120  # of a wrong value in a message

Positive = Field(gt=0.0)
Weight = Field(ge=0.0)
Fraction = Field(ge=0.0, le=1.0)
Pair = tuple[float, float]


class Section(BaseModel):
    """A section of params.yaml: frozen, complete, nothing unknown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Gaussians(Section):
    """The scene that stage 1 starts from."""

    count: int = Field(default=4096, ge=0, le=2_000_000)
    """Number of Gaussians."""
    radius: float = Field(default=0.7, gt=0.0)
    """Radius of the ball they fill, world units."""
    scale: float = Field(default=0.06, gt=0.0)
    """Their standard deviation, world units."""
    opacity: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Their opacity."""


class Cameras(Section):
    """Random cameras on an orbit about the object."""

    elevation_deg: Pair = (-10.0, 60.0)
    """Lowest and highest elevation."""
    distance: Pair = (3.0, 3.4)
    """Nearest and farthest distance to the origin, world units."""
    fov_deg: float = Field(default=40.0, gt=1.0, lt=150.0)
    """Field of view, vertical and horizontal."""

    @model_validator(mode="after")
    def _ordered(self) -> "Cameras":
        if not -90.0 < self.elevation_deg[0] <= self.elevation_deg[1] < 90.0:
            raise ValueError("elevation_deg must be [low, high] within (-90, 90)")
        if not 0.0 < self.distance[0] <= self.distance[1]:
            raise ValueError("distance must be [near, far], both above 0")
        return self


class Annealing(Section):
    """The noise level over the stage, as fractions of the prior's schedule."""

    schedule: Literal["none", "linear", "sqrt", "cosine", "step"] = "linear"
    """none, linear, sqrt, cosine or step: how the range falls from start to end."""
    t_max: Pair = (0.98, 0.25)
    """Upper end of the noise level at the stage's start and end."""
    t_min: Pair = (0.7, 0.02)
    """Lower end at the stage's start and end."""

    @model_validator(mode="after")
    def _within(self) -> "Annealing":
        if not all(0.0 <= value <= 1.0 for value in (*self.t_max, *self.t_min)):
            raise ValueError("t_max and t_min are fractions between 0 and 1")
        return self


class LearningRates(Section):
    """Adam's step size of each parameter: at the stage's start and end, log-linear between."""

    means: Pair = (0.005, 0.0005)
    """World units a step."""
    scales: Pair = (0.008, 0.008)
    """Of log scales."""
    quats: Pair = (0.003, 0.003)
    """Of quaternions."""
    opacities: Pair = (0.04, 0.04)
    """Of logits."""
    colors: Pair = (0.03, 0.03)
    """Of logits."""

    @model_validator(mode="after")
    def _positive(self) -> "LearningRates":
        if any(value <= 0.0 for pair in self.model_dump().values() for value in pair):
            raise ValueError("every learning rate must be above 0")
        return self


class Density(Section):
    """Where Gaussians are added, moved and removed."""

    strategy: Literal["none", "relocate", "default"] = "relocate"
    """none, relocate (the dead onto the living) or default (gsplat's)."""
    start_count: int = Field(default=0, ge=0, le=2_000_000)
    """Split the largest Gaussians up to this number before the first step; 0 leaves them."""
    every: int = Field(default=100, ge=1)
    """Steps between two actions."""
    start: float = Field(default=0.1, ge=0.0, le=1.0)
    """Fraction of the stage after which actions begin."""
    stop: float = Field(default=0.8, ge=0.0, le=1.0)
    """Fraction of the stage after which they end."""
    dead_opacity: float = Field(default=0.02, ge=0.0, le=1.0)
    """A Gaussian of less opacity is dead."""
    grow_grad2d: float = Field(default=0.0002, gt=0.0)
    """default strategy only: the image-plane gradient above which a Gaussian is split or cloned."""
    max_count: int = Field(default=20000, ge=1, le=5_000_000)
    """default strategy only: growth ends at this number."""


class Regularizers(Section):
    """Weights (0 is off) and limits of regularizers.py."""

    opacity: float = Field(default=0.02, ge=0.0)
    """Binary opacity: crisper outlines (docs/results.md)."""
    scale: float = Field(default=0.0, ge=0.0)
    """No blobs."""
    scale_limit: float = Field(default=0.15, gt=0.0)
    """World units: the longest axis that costs nothing."""
    anisotropy: float = Field(default=0.0, ge=0.0)
    """No needles."""
    anisotropy_limit: float = Field(default=6.0, ge=1.0)
    """The longest axis over the middle one that costs nothing."""
    position: float = Field(default=1.0, ge=0.0)
    """Compactness: a guard, which changes nothing by default (docs/claims.md)."""
    position_radius: float = Field(default=1.0, gt=0.0)
    """Of the ball in which it costs nothing."""
    depth_smoothness: float = Field(default=0.0, ge=0.0)
    """Smooth depth inside the object."""
    saturation: float = Field(default=0.0, ge=0.0)
    """No colours beyond a chroma of .9."""
    leakage: float = Field(default=0.0, ge=0.0)
    """Nothing at the edge of the picture."""


# The first of NFSD's words (arXiv 2310.17590)
NEGATIVE_PROMPT = "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull"


class Inversion(Section):
    """How inverted noise is found (distillation/noise.py)."""

    steps: int = Field(default=5, ge=1, le=1000)
    """Strides from the image to its noise, each a call of the prior."""
    guidance_scale: float = Field(default=-7.5, ge=-1000.0, le=1000.0)
    """Its own s; SDI's is the negative of the target's, 0 is the empty prompt alone."""


class Variational(Section):
    """VSD's LoRA, which learns what the renders look like (distillation/variational.py)."""

    rank: int = Field(default=4, ge=1, le=256)
    """Of what it adds to each linear map of the prior's attention."""
    learning_rate: float = Field(default=1e-4, gt=0.0, le=1.0)
    """AdamW's step size."""
    steps: int = Field(default=1, ge=1, le=100)
    """AdamW's steps for each new target, each as dear as three calls of the prior."""


class ViewBias(Section):
    """Cures for the second face, of priors that know things from the front (docs/faces.md)."""

    interpolate: bool = False
    """Mix the embeddings of the two nearest view words by azimuth; false: the nearest alone."""
    perp_neg: float = Field(default=0.0, ge=0.0, le=10.0)
    """Perp-Neg's strength, away from the wrong views' words; 0 is off, 1 its published weights."""
    score_clip: Pair | None = None
    """Bound of each number of eps_hat - eps (Debiased-SDS), such as [0.5, 2.0]; null is off."""
    debias_words: tuple[str, ...] = ()
    """Words, such as face, that prompts lose in all views but the front ones, or as the language
    model says."""
    language_model: str | None = None
    """A local folder with a masked language model, which chooses the words that a view's prompt
    loses: of debias_words, or of all if there are none."""
    reweight: Literal["none", "uniform", "camera"] = "none"
    """Weigh views so that what the targets show is uniform over directions, or as the cameras'."""

    @model_validator(mode="after")
    def _sensible(self) -> "ViewBias":
        if self.score_clip is not None and min(self.score_clip) <= 0.0:
            raise ValueError("score_clip must be null, or [start, end], both above 0")
        if any(word != word.strip() or len(word.split()) != 1 for word in self.debias_words):
            raise ValueError("debias_words must be single words, such as [face, eyes]")
        return self

    @property
    def words(self) -> list[str]:
        """Return the names of the cures that are on and need view words."""
        names = ("interpolate", "perp_neg", "debias_words", "language_model")
        return [name for name in names if getattr(self, name)]


class Reward(Section):
    """Several targets a view, weighted by a reward (RewardSDS, docs/targets.md)."""

    samples: int = Field(default=1, ge=1, le=64)
    """Noises for each view, each with a target of its own; 1 is off."""
    sharpness: float = Field(default=1.0, ge=0.0, le=1000.0)
    """Weights are softmax(sharpness * reward, standardised); 0 is the plain mean."""
    by: Literal["prior"] = "prior"
    """prior: how much better it knows the target with the prompt than without."""
    noise_levels: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        default=(0.3,), min_length=1
    )
    """Where the prior is asked, as fractions of its schedule; each costs two samples a target."""


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
    targets_kept: int = Field(default=60, ge=1, le=1000)
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


class Checkpoint(Section):
    """How unfinished work is kept."""

    every_seconds: float = Field(default=20.0, gt=0.0)
    """Seconds between two resume states."""


class Debug(Section):
    """Pictures of what the prior makes of the renders (docs/debugger.md); they change no result."""

    every: int = Field(default=0, ge=0, le=1_000_000)
    """Steps between two records of a run; 0 records nothing."""
    views: int = Field(default=4, ge=1, le=64)
    """At most this many of a step's views; after a run, this many around the object."""
    many_steps: int = Field(default=10, ge=0, le=1000)
    """Steps of the many-step denoised image, each a call of the prior; 0 leaves it out."""


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


class Config(Section):
    """The whole of params.yaml."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    acceleration: Literal["auto", "none", "graphs", "compile"] = "auto"
    """Of networks on a GPU: none, graphs (CUDA graphs), compile (torch.compile too: a minute or
    more the first time), auto: graphs, and compile in stages of 4000 steps or more."""
    gaussians: Gaussians = Gaussians()
    stage1: Stage = Stage()
    """Geometry, from a pixel-space prior."""
    stage2: Stage = LATENT_STAGE
    """Colour and detail, from a latent-space prior: low and falling rates leave no fur."""
    checkpoint: Checkpoint = Checkpoint()
    debug: Debug = Debug()
    turntable: Turntable = Turntable()
    mesh: Mesh = Mesh()
    export: Export = Export()
    evaluate: Evaluate = Evaluate()

    def stage(self, name: StageName) -> Stage:
        """Return the settings of a stage by its name."""
        return self.stage1 if name == "stage1" else self.stage2


def load_config(files: Sequence[Path] = (), overrides: Sequence[str] = ()) -> Config:
    """Lay files over the defaults in their order, then `a.b=c` overrides.

    Raises:
        UserError: a file that is missing or no YAML mapping, an unknown key, a bad value.
    """
    return compose([read_mapping(file) for file in files], overrides, files[-1:])


def compose(
    layers: Sequence[dict[str, Any]], overrides: Sequence[str] = (), where: Sequence[Path] = ()
) -> Config:
    """Lay mappings over the defaults, then `a.b=c` overrides.

    Args:
        where: the file to name in an error that is of no single key.

    Raises:
        UserError: an unknown key or a bad value.
    """
    merged = Config().model_dump(mode="json")
    for layer in layers:
        merged = _merge(merged, layer)
    return _validated(merged, overrides, where)


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """Lay `a.b=c` overrides over `config`.

    Raises:
        UserError: an unknown key or a bad value.
    """
    return _validated(config.model_dump(mode="json"), overrides, ())


def _validated(merged: dict[str, Any], overrides: Sequence[str], where: Sequence[Path]) -> Config:
    for override in overrides:
        merged = _merge(merged, _parse_override(override))
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise UserError(_explain(error, where)) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a params file's sections.

    Raises:
        UserError: it is missing, or no YAML mapping.
    """
    try:
        content = parse_yaml(read_whole(path, MAX_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise UserError(f"params file {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read params file {path}: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"params file {path} must be a mapping of sections, like params.yaml")
    return content


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    shown = f"--set {_short(override)}"
    if not separator or not all(key.strip().split(".")) or key.count(".") >= MAX_DEPTH:
        raise UserError(f"{shown} is not of the form section.key=value")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{shown}: {error}") from None
    nested: Any = value
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    return nested


def _explain(error: ValidationError, where: Sequence[Path]) -> str:
    """Describe the first thing wrong in one line, and how many more there are."""
    first, *more = error.errors()
    key = ".".join(str(part) for part in first["loc"])[:MAX_VALUE_CHARS]
    key = key or ", ".join(str(path) for path in where) or "settings"
    if first["type"] == "extra_forbidden":
        parent: Any = Config.model_fields
        for part in first["loc"][:-1]:
            parent = getattr(parent[str(part)].annotation, "model_fields", {})
        meant = setting_meant(Config, key, first["input"])
        text = f"unknown setting {key}{meant}; allowed here: {', '.join(parent)}"
    elif first["type"] == "missing":
        text = f"setting {key} is missing"
    else:
        message = first["msg"].removeprefix("Value error, ")
        text = f"setting {key} is {_short(first['input'])}: {message[0].lower()}{message[1:]}"
    return text + (f" (and {len(more)} more)" if more else "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}..."
