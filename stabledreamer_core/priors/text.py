"""Text embeddings: computed once per prompt by the pipeline's own encoder, then kept.

IF's text encoder is T5-XXL, larger than its UNet: it is loaded for a call and freed after it.
"""

import gc
import hashlib
import warnings
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.files import atomic_write
from stabledreamer_core.priors.layout import is_text, read_family, read_json
from stabledreamer_core.priors.quiet import quiet

SPARE_BYTES = 2 * 10**9  # of memory, beside a text encoder


@dataclass(frozen=True)
class Place:
    """Where and as what text encoders run."""

    device: torch.device
    dtype: torch.dtype
    eight_bit: bool = False  # by bitsandbytes, on a GPU

    def __str__(self) -> str:
        return f"{self.dtype}-{self.device.type}" + ("-8bit" if self.eight_bit else "")


def cpu_place(text_bytes: float, dtype: torch.dtype) -> Place:
    """Choose the dtype of text encoders on the CPU, whatever memory they leave a GPU.

    float32 where it fits, because a CPU computes it faster, else bfloat16.

    Args:
        text_bytes: that they take in `dtype`.

    Raises:
        UserError: neither fits.
    """
    import psutil

    numbers = text_bytes / dtype.itemsize
    free = psutil.virtual_memory().available
    for chosen in (torch.float32, torch.bfloat16):
        if numbers * chosen.itemsize + SPARE_BYTES < free:
            return Place(torch.device("cpu"), chosen)
    raise UserError(
        f"the text encoder fits neither the GPU nor this machine's memory: it takes"
        f" {2 * numbers / 1e9:.0f} GB, and {free / 1e9:.0f} GB are free; compute embeddings on"
        " another machine (`stabledreamer priors embed`) and set `embeddings` to that file"
    )


def encode_prompts(
    folder: Path,
    prompts: list[str],
    variant: str | None,
    dtype: torch.dtype,
    device: torch.device,
    eight_bit: bool = False,
) -> dict[str, Tensor]:
    """Map each prompt to its embedding [L, D] on the CPU, as ordinary sampling would compute it.

    Prompts are encoded one at a time, so that an embedding does not depend on the others. A prompt
    longer than the encoder reads is cut, with a warning.
    """
    _, family = read_family(folder)
    options = {"eight_bit": True} if eight_bit else {}
    pipeline = _text_pipeline(folder, variant, dtype, device, **options)
    embeddings = {}
    for prompt in prompts:
        try:
            with quiet(), torch.no_grad():
                encoded = family.embed(pipeline, prompt, device)
                tokens = len(pipeline.tokenizer(prompt).input_ids)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # such as a token that the encoder has no row for
            raise UserError(
                f"this prior is damaged: the tokenizer and text encoder in {folder} do not fit"
                f" together ({type(error).__name__}: {first_line(error)})"
            ) from error
        read = family.max_tokens or len(encoded)
        if tokens > read:
            warnings.warn(
                f"the prompt has {tokens} tokens and its end is not read: the text encoder of"
                f" {folder.name} takes {read} ({prompt[:60]!r}...)",
                stacklevel=2,
            )
        embeddings[prompt] = encoded.to("cpu", copy=True)
    encoder = weakref.ref(pipeline.text_encoder)
    del pipeline
    if encoder() is not None:  # a reference cycle holds it; collecting takes a second
        gc.collect()
    release_memory(device)
    return embeddings


def _text_pipeline(
    folder: Path,
    variant: str | None,
    dtype: torch.dtype,
    device: torch.device,
    eight_bit: bool = False,
) -> Any:
    """Load the pipeline with its tokenizers and text encoders alone.

    Raises:
        UserError: the files do not fit together.
    """
    with quiet():
        import diffusers

        name, family = read_family(folder)
        if family.prepare is not None:
            family.prepare()
        index = read_json(folder / "model_index.json")
        parts = [part for part, value in index.items() if isinstance(value, list)]
        left_out = {part: None for part in parts if not is_text(part)}
        try:
            pipeline = getattr(diffusers, name).from_pretrained(
                folder,
                **left_out,
                requires_safety_checker=False,
                variant=variant,
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                **(_eight_bit_options(parts) if eight_bit else {}),
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a file that does not fit is met with many kinds
            raise UserError(
                f"this prior is damaged: cannot load the text encoder and tokenizer in {folder}"
                f" ({type(error).__name__}: {first_line(error)})"
            ) from error
        return pipeline if eight_bit else pipeline.to(device)


def _eight_bit_options(parts: list[str]) -> dict[str, Any]:
    """Let bitsandbytes read the text encoders in 8 bits (LLM.int8(), Dettmers et al. 2022)."""
    from diffusers import PipelineQuantizationConfig
    from transformers import BitsAndBytesConfig

    encoders = [part for part in parts if part.startswith("text_encoder")]
    mapping: dict[str, Any] = {part: BitsAndBytesConfig(load_in_8bit=True) for part in encoders}
    return {"quantization_config": PipelineQuantizationConfig(quant_mapping=mapping)}


def release_memory(device: torch.device) -> None:
    """Return freed memory to a GPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def embedding_path(cache_dir: Path, prior: str, how: str, prompt: str) -> Path:
    """Return the path of an embedding, keyed by the prior's hash, how it is run, and the text."""
    key = hashlib.sha256("\0".join((prior, how, prompt)).encode()).hexdigest()
    return cache_dir / f"{key}.safetensors"


def read_embedding(path: Path) -> Tensor | None:
    """Load a kept embedding [L, D]; None where there is none or it is damaged."""
    try:
        return load_file(path)["embedding"]
    except (OSError, SafetensorError, KeyError):
        return None


def write_embedding(path: Path, embedding: Tensor) -> None:
    """Keep an embedding [L, D] if the folder can be written."""
    with suppress(OSError, UserError), atomic_write(path) as temporary:
        save_file({"embedding": embedding.contiguous()}, temporary)
