"""Settings: `params.yaml` read into typed, frozen objects. The YAML is their only source.

There are no defaults here: every key must stand in params.yaml. A params file given by the user
is laid over it, then `--set a.b=c`. Unknown keys and bad values are errors that name the key, the
value and what is allowed.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole
from stabledreamer_core.settings.output import Evaluate, Mesh, Turntable
from stabledreamer_core.settings.yaml_text import DEEPEST, parse_yaml

ROOT = Path(__file__).resolve().parents[1]
PARAMS = ROOT / "params.yaml"
QUICK = ROOT / "params" / "quick.yaml"
MOST_BYTES = 2**20
LONGEST_VALUE = 120  # characters of a wrong value that are told

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

    count: int = Field(ge=0, le=2_000_000)
    """Number of Gaussians."""
    radius: float = Positive
    """Radius of the ball they fill, world units."""
    scale: float = Positive
    """Their standard deviation, world units."""
    opacity: float = Field(gt=0.0, lt=1.0)
    """Their opacity."""


class Cameras(Section):
    """Random cameras on an orbit about the object."""

    elevation_deg: Pair
    """Lowest and highest elevation."""
    distance: Pair
    """Nearest and farthest distance to the origin, world units."""
    fov_deg: float = Field(gt=1.0, lt=150.0)
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

    schedule: Literal["none", "linear", "sqrt", "cosine", "step"]
    """How the range falls from its start to its end."""
    t_max: Pair
    """Upper end of the noise level at the stage's start and end."""
    t_min: Pair
    """Lower end at the stage's start and end."""

    @model_validator(mode="after")
    def _within(self) -> "Annealing":
        if not all(0.0 <= value <= 1.0 for value in (*self.t_max, *self.t_min)):
            raise ValueError("t_max and t_min are fractions between 0 and 1")
        return self


class LearningRates(Section):
    """Adam's step size of each parameter: at the stage's start and end, log-linear between."""

    means: Pair
    scales: Pair
    quats: Pair
    opacities: Pair
    colors: Pair

    @model_validator(mode="after")
    def _positive(self) -> "LearningRates":
        if any(value <= 0.0 for pair in self.model_dump().values() for value in pair):
            raise ValueError("every learning rate must be above 0")
        return self


class Density(Section):
    """Where Gaussians are added, moved and removed."""

    strategy: Literal["none", "relocate", "default"]
    """relocate moves the dead onto the living; default is gsplat's DefaultStrategy."""
    start_count: int = Field(ge=0, le=2_000_000)
    """Split the largest Gaussians up to this number before the first step; 0 leaves them."""
    every: int = Field(ge=1)
    """Steps between two actions."""
    start: float = Fraction
    """Fraction of the stage after which actions begin."""
    stop: float = Fraction
    """Fraction of the stage after which they end."""
    dead_opacity: float = Fraction
    """A Gaussian of less opacity is dead."""
    grow_grad2d: float = Positive
    """default strategy only: the image-plane gradient above which a Gaussian is split or cloned."""
    max_count: int = Field(ge=1, le=5_000_000)
    """default strategy only: growth ends at this number."""


class Regularizers(Section):
    """Weights (0 is off) and limits of regularizers.py."""

    opacity: float = Weight
    scale: float = Weight
    scale_limit: float = Positive
    anisotropy: float = Weight
    anisotropy_limit: float = Field(ge=1.0)
    position: float = Weight
    position_radius: float = Positive
    depth_smoothness: float = Weight
    saturation: float = Weight
    leakage: float = Weight


class Stage(Section):
    """One stage of optimisation against one prior."""

    prior: str = Field(min_length=1)
    """A diffusers pipeline: a local folder or a hub id."""
    revision: str | None
    """A hub id's pinned commit."""
    variant: str | None
    """The weights' variant, such as fp16."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"]
    """Arithmetic of the prior; auto is float32 on a CPU, else what the prior suggests."""
    engine: Literal["torch", "openvino"]
    """What runs the prior's UNet: openvino is for CPUs, and dtype then speaks of the UNet alone."""
    iterations: int = Field(ge=0, le=1_000_000)
    views: int = Field(ge=1, le=256)
    """Cameras a step."""
    resolution: int = Field(ge=8, le=2048)
    """Side of a render in pixels; what the prior was trained on."""
    supersampling: int = Field(ge=1, le=8)
    """Renders are made so many times larger along each side, then averaged."""
    view_words: Literal["none", "four", "eight"]
    """Vocabulary of view-dependent prompts."""
    guidance_scale: float = Field(ge=1.0, le=1000.0)
    """s in uncond + s (cond - uncond)."""
    guidance_rescale: float = Fraction
    guidance_interval: Pair
    """Noise levels that are guided; at others the conditional prediction alone is asked for."""
    weighting: Literal["sds", "uniform", "x0"]
    """w(t), by name (distillation.l2_weight)."""
    x0_limit: Literal["none", "clamp", "dynamic"]
    """How a pixel prior's denoised image is kept within [-1, 1]."""
    target_space: Literal["prior", "image"]
    """Where render and target are compared (distillation/loss_space.py): the prior's space, or as images."""
    target_steps: int = Field(ge=1, le=1000)
    """1: the one-step denoised image (SDS). More: deterministic multi-step denoising."""
    target_reuse: int = Field(ge=1)
    """Steps for which views and target are kept (InstructNeRF2NeRF's dataset update)."""
    annealing: Annealing
    cameras: Cameras
    anisotropic: bool
    """False holds the three axes of every Gaussian equal, for comparison."""
    background: Literal["random", "white", "grey", "black"]
    learning_rates: LearningRates
    adam_betas: Pair
    density: Density
    regularizers: Regularizers

    @model_validator(mode="after")
    def _ordered(self) -> "Stage":
        if not 0.0 <= self.guidance_interval[0] <= self.guidance_interval[1] <= 1.0:
            raise ValueError("guidance_interval must be [low, high] within [0, 1]")
        return self

    @property
    def render_resolution(self) -> int:
        """Side in pixels of what is rasterised."""
        return self.resolution * self.supersampling


class Checkpoint(Section):
    """How unfinished work is kept."""

    every_seconds: float = Positive
    """Seconds between two resume states."""


class Debug(Section):
    """Pictures of what the prior makes of the renders (docs/debugger.md); they change no result."""

    every: int = Field(ge=0, le=1_000_000)
    """Steps between two records of a run; 0 records nothing."""
    views: int = Field(ge=1, le=64)
    """At most this many of a step's views; after a run, this many around the object."""
    many_steps: int = Field(ge=0, le=1000)
    """Steps of the many-step denoised image, each a call of the prior; 0 leaves it out."""


class Config(Section):
    """The whole of params.yaml."""

    device: Literal["auto", "cpu", "cuda"]
    """auto: a GPU where there is one."""
    gaussians: Gaussians
    stage1: Stage
    stage2: Stage
    checkpoint: Checkpoint
    debug: Debug
    turntable: Turntable
    mesh: Mesh
    evaluate: Evaluate
    training: dict[str, Any]
    """Training of the Toybox priors; toybox/training/settings.py gives its types."""


def load_config(
    params_file: Path | None = None, overrides: list[str] | None = None, quick: bool = False
) -> Config:
    """params.yaml, then the quick preset, then the user's file, then `a.b=c` overrides.

    Raises:
        UserError: a file that is missing or no YAML mapping, an unknown key, a bad value.
    """
    layers = [PARAMS, *([QUICK] if quick else []), *([Path(params_file)] if params_file else [])]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, _read_mapping(layer))
    return _validated(merged, overrides or [], layers[-1])


def with_overrides(config: Config, overrides: list[str]) -> Config:
    """The same settings with `a.b=c` overrides laid over them.

    Raises:
        UserError: an unknown key or a bad value.
    """
    return _validated(config.model_dump(mode="json"), overrides, PARAMS)


def _validated(merged: dict[str, Any], overrides: list[str], where: Path) -> Config:
    for override in overrides:
        merged = _merge(merged, _parse_override(override))
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise UserError(_explain(error, where)) from None


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(read_whole(path, MOST_BYTES).decode("utf-8"))
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
    if not separator or not all(key.strip().split(".")) or key.count(".") >= DEEPEST:
        raise UserError(f"{shown} is not of the form section.key=value")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{shown}: {error}") from None
    nested: Any = value
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    return nested


def _explain(error: ValidationError, path: Path) -> str:
    """One line for the first thing wrong; says how many more there are."""
    first, *more = error.errors()
    where = ".".join(str(part) for part in first["loc"])[:LONGEST_VALUE] or str(path)
    if first["type"] == "extra_forbidden":
        parent: Any = Config.model_fields
        for part in first["loc"][:-1]:
            parent = getattr(parent[str(part)].annotation, "model_fields", {})
        text = f"unknown setting {where}; allowed here: {', '.join(parent)}"
    elif first["type"] == "missing":
        text = f"setting {where} is missing"
    else:
        message = first["msg"].removeprefix("Value error, ")
        text = f"setting {where} is {_short(first['input'])}: {message[0].lower()}{message[1:]}"
    return text + (f" (and {len(more)} more)" if more else "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
