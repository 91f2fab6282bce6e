"""Text embeddings: computed once per prompt by the pipeline's own encoder, then kept.

IF's text encoder is T5-XXL, larger than its UNet: it is loaded for a call and freed after it.
"""

import gc
import hashlib
import sys
import warnings
import weakref
from contextlib import suppress
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


def encode_prompts(
    folder: Path,
    prompts: list[str],
    variant: str | None,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, Tensor]:
    """Map each prompt to its embedding [L, D] on the CPU, as ordinary sampling would compute it.

    Prompts are encoded one at a time, so that an embedding does not depend on the others. A prompt
    longer than the encoder reads is cut, with a warning.
    """
    _, family = read_family(folder)
    pipeline = _text_pipeline(folder, variant, dtype, device)
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
    folder: Path, variant: str | None, dtype: torch.dtype, device: torch.device
) -> Any:
    """Load the pipeline with its tokenizers and text encoders alone.

    Raises:
        UserError: the files do not fit together.
    """
    with quiet():
        import diffusers

        name, _ = read_family(folder)
        index = read_json(folder / "model_index.json")
        parts = [part for part, value in index.items() if isinstance(value, list)]
        left_out = {part: None for part in parts if not is_text(part)}
        if ["transformers", "T5GemmaEncoder"] in index.values():
            _lend_t5gemma()
        try:
            pipeline = getattr(diffusers, name).from_pretrained(
                folder,
                **left_out,
                requires_safety_checker=False,
                variant=variant,
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
            )
        except Exception as error:  # a file that does not fit is met with many kinds
            raise UserError(
                f"this prior is damaged: cannot load the text encoder and tokenizer in {folder}"
                f" ({type(error).__name__}: {first_line(error)})"
            ) from error
        return pipeline.to(device)


def _lend_t5gemma() -> None:
    """Let transformers have the class that PRX names.

    diffusers lends it, but to a module that transformers replaces while that class is imported.
    """
    from diffusers.pipelines import prx

    transformers = sys.modules["transformers"]
    if not hasattr(transformers, "T5GemmaEncoder"):
        transformers.T5GemmaEncoder = prx.T5GemmaEncoder  # type: ignore[attr-defined]


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
