"""Settings: typed, frozen, with defaults; YAML files and `a.b=c` overrides are laid over them.

The docstring under a field is its documentation, and its comment in params.yaml (params_file.py).
Unknown keys and bad values are errors that name the key, the value and what is allowed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole
from stabledreamer_core.settings.describe import setting_meant
from stabledreamer_core.settings.output import Evaluate, Export, Mesh, Turntable
from stabledreamer_core.settings.scene import Gaussians
from stabledreamer_core.settings.section import Section
from stabledreamer_core.settings.stage import LATENT_STAGE, Stage, StageName
from stabledreamer_core.settings.yaml_text import MAX_DEPTH, parse_yaml

MAX_BYTES = 2**20
MAX_VALUE_CHARS = 120  # of a wrong value in a message


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
