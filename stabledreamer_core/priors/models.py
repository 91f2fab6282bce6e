"""Load one network of a pipeline for evaluation: frozen, in the dtype and layout it runs in."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.priors.layout import first_line, read_json
from stabledreamer_core.priors.quiet import quiet

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def choose_dtype(setting: str, variant: str | None, device: torch.device) -> torch.dtype:
    """The dtype a prior's networks run in.

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
    """The VAE's dtype beside a UNet of `dtype`: SD's encoder overflows float16, not bfloat16."""
    return torch.bfloat16 if dtype == torch.float16 else dtype


def load_network(
    folder: Path,
    component: str,
    variant: str | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Any:
    """The network in `folder`/`component`, a diffusers model.

    Raises:
        UserError: the weights do not fit the network its config describes.
    """
    with quiet():
        import diffusers
        from diffusers.utils import is_accelerate_available

        name = read_json(folder / component / "config.json").get("_class_name")
        try:
            network = getattr(diffusers, str(name)).from_pretrained(
                folder / component,
                variant=variant,
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=is_accelerate_available(),
            )
        except (AttributeError, OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"this prior is damaged: cannot load {folder / component} ({first_line(error)})"
            ) from error
        network.requires_grad_(False).eval()
        return network.to(device=device, dtype=dtype, memory_format=torch.channels_last)


def read_alphas_cumprod(scheduler_config: dict[str, Any]) -> Tensor:
    """alphas_cumprod [T], float32, of a diffusers scheduler's configuration."""
    with quiet():
        from diffusers import DDPMScheduler

        return DDPMScheduler.from_config(scheduler_config).alphas_cumprod.float()
