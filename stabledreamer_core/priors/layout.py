"""What a prior's folder must hold, and checks that name the first thing wrong with it.

The folder is what `DiffusionPipeline.save_pretrained` writes: `model_index.json` names the
pipeline's class, each component has a folder of its own. Weights are safetensors; pickles, which
run code when they are opened, are never read.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import safe_open

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.files import read_whole
from stabledreamer_core.priors.families import DISTILLED, FAMILIES, Family

MAX_BYTES = 128 * 2**20  # of a JSON file; the largest tokenizers have 30 MB
MAX_NUMBER = 1_000_000  # in a description
MAX_LAYERS = 200
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a prior's folder.

    Raises:
        UserError: the file is missing, unreadable or no JSON object.
    """
    try:
        content = json.loads(read_whole(path, MAX_BYTES).decode("utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"this prior is incomplete: no file {path}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"this prior is damaged: cannot read {path} ({first_line(error)})"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"this prior is damaged: {path} holds no JSON object")
    return content


def read_family(folder: Path) -> tuple[str, Family]:
    """Read the pipeline's class name and its family from `model_index.json`.

    Raises:
        UserError: no or an unreadable `model_index.json`, or a class we cannot use.
    """
    index = folder / "model_index.json"
    if folder.is_dir() and not index.exists():
        raise UserError(
            f"no diffusers pipeline: there is no {index}; save one with"
            " `pipeline.save_pretrained(folder)`, or download one: `stabledreamer priors list`"
        )
    content = read_json(index)
    name = content.get("_class_name")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if name in DISTILLED or (family and family.distilled and content.get(family.distilled)):
        raise UserError(
            f"{index} is a distilled {name}: its guidance is baked in, and score distillation needs"
            " the prediction without a prompt; take the base model that it was distilled from"
        )
    if family is None:
        raise UserError(
            f"{index} names the class {str(name)[:80]!r}; a prior is one of {', '.join(FAMILIES)}"
            " (docs/extending.md, A family, says how to add one)"
        )
    return str(name), family


def is_text(part: str) -> bool:
    """Whether a component embeds prompts."""
    return part.startswith(("tokenizer", "text_encoder"))


def has_weights(part: str) -> bool:
    """Whether a component has weights."""
    return part != "scheduler" and not part.startswith("tokenizer")


def _config_of(part: str) -> str:
    """Return the name of the file that describes a component."""
    if part.startswith("tokenizer"):
        return "tokenizer_config.json"
    return "scheduler_config.json" if part == "scheduler" else "config.json"


def check_settings(folder: Path) -> None:
    """Refuse a description of anything but a diffusion model of a size that a machine can hold.

    The libraries build and import whatever a description names.

    Raises:
        UserError: names the file and the setting.
    """
    name, family = read_family(folder)
    index = read_json(folder / "model_index.json")
    for part in filter(is_text, family.components):
        allowed = [
            [library, known]
            for library in ("transformers", *family.libraries)
            for known in family.components[part]
        ]
        if index.get(part) not in allowed:
            raise UserError(
                f"{folder / 'model_index.json'}: {name} has no {part} {str(index.get(part))[:80]}"
            )
    for part, classes in family.components.items():
        path = folder / part / _config_of(part)
        settings = read_json(path)
        if part in (family.denoiser, "vae") and settings.get("_class_name") not in classes:
            raise UserError(f"{path}: _class_name is not {' or '.join(classes)}")
        if not part.startswith("tokenizer"):
            _check_numbers(path, settings)


def _check_numbers(path: Path, settings: dict[str, Any]) -> None:
    for key, value in settings.items():
        numbers = value if isinstance(value, list) else [value]
        most = MAX_LAYERS if "layers" in key or "blocks" in key else MAX_NUMBER
        for number in numbers:
            # Minus infinity, in DPM solvers' descriptions; 5,000,000 in Qwen3-VL's.
            if key in ("lambda_min_clipped", "rope_theta"):
                continue
            if isinstance(number, int | float) and not -most <= number <= most:
                raise UserError(f"{path}: {key} is {str(number)[:40]}, and at most {most} is read")
        if len(numbers) > MAX_LAYERS and key != "trained_betas":
            raise UserError(f"{path}: {key} has {len(numbers)} entries")


def weight_files(folder: Path, component: str, variant: str | None) -> list[str]:
    """List the files, relative to `folder`, that a component's weights are loaded from.

    One file, or the shards that an index names; they may be missing.
    """
    stem = "model" if is_text(component) else "diffusion_pytorch_model"
    infix = f".{variant}" if variant else ""
    index = f"{component}/{stem}.safetensors.index{infix}.json"
    if (folder / index).exists() and not (
        folder / component / f"{stem}{infix}.safetensors"
    ).exists():
        weight_map = read_json(folder / index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(f"this prior is damaged: {folder / index} names no files")
        return sorted({f"{component}/{Path(str(name)).name}" for name in weight_map.values()})
    return [f"{component}/{stem}{infix}.safetensors"]


def needed_files(folder: Path, variant: str | None, text: bool = True) -> list[str]:
    """List the descriptions and weights, relative to `folder`, that loading reads.

    Args:
        text: whether the text encoders' weights are among them.

    Raises:
        UserError: as `read_family`.
    """
    _, family = read_family(folder)
    names = ["model_index.json"]
    for component in family.components:
        names.append(f"{component}/{_config_of(component)}")
        if has_weights(component) and (text or not is_text(component)):
            names += weight_files(folder, component, variant)
    return names


def component_files(folder: Path) -> list[str]:
    """List all files, relative to `folder` and sorted, that can change what the prior computes.

    Raises:
        UserError: as `read_family`.
    """
    _, family = read_family(folder)
    endings = {".json", ".txt", ".model", ".jinja", ".safetensors"}
    paths = [path for part in family.components for path in (folder / part).glob("*")]
    files = [path for path in paths if path.suffix in endings and path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in files]
    return sorted([*names, "model_index.json"])


def check_folder(folder: Path, variant: str | None, text: bool = True) -> None:
    """Refuse a folder that would fail later; read the weights' headers alone (an IF is 30 GB).

    Args:
        text: whether prompts will be embedded; if not, the text encoders' weights may be missing.

    Raises:
        UserError: names the first file that is missing, cut short or pickled.
    """
    _, family = read_family(folder)
    for part in family.components:
        if part.startswith("tokenizer"):
            _check_tokenizer(folder / part)
    check_settings(folder)
    for name in needed_files(folder, variant, text):
        if name.endswith(".json"):
            read_json(folder / name)
        else:
            _check_weights(folder / name, variant)


def _check_tokenizer(folder: Path) -> None:
    """Raise a UserError where a tokenizer's files are damaged or cannot be read here."""
    for path in sorted(folder.glob("*")):
        if not path.is_file():
            raise UserError(f"this prior is damaged: {path} is no file")
        if path.suffix == ".json":
            _check_padding(path, read_json(path))
    if folder.is_dir() and not any((folder / name).exists() for name in VOCABULARIES):
        raise UserError(
            f"this prior is incomplete: the tokenizer {folder} lacks its vocabulary (one of"
            f" {', '.join(VOCABULARIES)}); copy that file there, or `stabledreamer priors fetch`"
            " the model again"
        )
    spiece = folder / "spiece.model"
    if not spiece.exists() or (folder / "tokenizer.json").exists():
        return
    try:
        import_module("google.protobuf")
    except ImportError as error:
        raise UserError(
            f"reading the tokenizer {spiece} needs the package protobuf: pip install protobuf"
        ) from error


def _check_padding(path: Path, settings: dict[str, Any]) -> None:
    """Raise a UserError where prompts would be padded to more tokens than a machine can hold.

    The library that pads ends the process when memory runs out. A length of 1e30 means none.
    """
    padding = settings.get("padding")
    strategy = padding.get("strategy") if isinstance(padding, dict) else None
    fixed = strategy.get("Fixed") if isinstance(strategy, dict) else None
    for length in (settings.get("model_max_length"), fixed):
        if isinstance(length, int | float) and MAX_NUMBER < length < 1e20:
            raise UserError(f"{path}: prompts of {length:g} tokens; at most {MAX_NUMBER} are read")


def _check_weights(path: Path, variant: str | None) -> None:
    """Raise a UserError unless `path` is a whole safetensors file."""
    if path.is_file():
        try:
            with safe_open(path, framework="pt"):
                return
        except Exception as error:  # whatever a damaged header makes of the reader
            raise UserError(
                f"this prior is damaged: {path} is cut short or no safetensors file"
                f" ({first_line(error)})"
            ) from error
    others = sorted(other.name for other in path.parent.glob("*.safetensors"))
    if others:
        wanted = f"variant {variant!r}" if variant else "no variant"
        raise UserError(
            f"this prior is incomplete: {wanted} is set, but instead of {path} there is"
            f" {', '.join(others)}; set `variant` to match (`fp16` for *.fp16.safetensors)"
        )
    if any(path.parent.glob("*.bin")):
        raise UserError(
            f"{path.parent} holds only pickled weights (*.bin), which are never opened because"
            " they can run code; save them again with `safe_serialization=True`"
        )
    raise UserError(f"this prior is incomplete: no file {path}")
