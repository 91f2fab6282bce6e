"""Load one network of a pipeline for evaluation: frozen, in the dtype and layout it runs in."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.priors.layout import read_json, weight_files
from stabledreamer_core.priors.quiet import quiet

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
# Of a network whose parts do not fit together.
FAULTS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def choose_dtype(setting: str, variant: str | None, device: torch.device) -> torch.dtype:
    """Choose the dtype that a prior's networks run in.

    "auto" is float32, and on CUDA float16 where the fp16 variant was asked for: a CPU computes
    in half precision several times more slowly, and small priors gain nothing from it.

    Raises:
        UserError: an unknown setting.
    """
    if setting == "auto":
        half = device.type == "cuda" and variant == "fp16"
        return torch.float16 if half else torch.float32
    if setting not in DTYPES:
        raise UserError(f"dtype {setting!r} is not one of auto, {', '.join(DTYPES)}")
    return DTYPES[setting]


def vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the VAE's dtype beside a UNet of `dtype`: SD's encoder overflows float16."""
    return torch.bfloat16 if dtype == torch.float16 else dtype


def load_network(
    folder: Path,
    component: str,
    variant: str | None,
    dtype: torch.dtype,
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> Any:
    """Load the network in `folder`/`component`, a diffusers model.

    Raises:
        UserError: the weights do not fit the network its config describes.
    """
    with quiet():
        import diffusers
        from diffusers.utils import is_accelerate_available

        settings = read_json(folder / component / "config.json")
        name = settings.get("_class_name")
        try:
            with torch.device("meta"):
                asked = getattr(diffusers, str(name)).from_config(settings).state_dict()
            _check_size(folder, component, variant, sum(value.numel() for value in asked.values()))
            network = getattr(diffusers, str(name)).from_pretrained(
                folder / component,
                variant=variant,
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=is_accelerate_available(),
            )
            network.requires_grad_(False).eval()
            return network.to(device=device, dtype=dtype, memory_format=memory_format)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a file that does not fit is met with many kinds
            raise UserError(
                f"this prior is damaged: cannot load {folder / component} ({first_line(error)})"
            ) from error


@contextmanager
def as_damaged_network(folder: Path, component: str) -> Iterator[None]:
    """Turn errors that only a network with an odd description raises into a UserError."""
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except FAULTS as error:
        raise UserError(
            f"this prior is damaged: {folder / component}/config.json describes a network that"
            f" cannot run ({type(error).__name__}: {first_line(error)})"
        ) from error


def _check_size(folder: Path, component: str, variant: str | None, asked: int) -> None:
    """Raise a UserError where a description asks for many more numbers than the weights hold."""
    held = 0
    for name in weight_files(folder, component, variant):
        with safe_open(folder / name, framework="pt") as file:
            held += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())
    if asked > 1.1 * held + 1000:
        raise UserError(
            f"this prior is damaged: {folder / component}/config.json describes a network of"
            f" {asked} numbers, and its weights are {held}"
        )
