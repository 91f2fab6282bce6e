"""Files of named tensors: safetensors, written atomically, verified when read.

Every file carries a digest of its tensors and metadata, because a safetensors file with altered
numbers still parses.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write

ENTRY = "checkpoint"  # of the file's metadata: all of ours, as JSON


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors and metadata with their digest, atomically."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with atomic_write(path) as temporary:
        # One entry: safetensors writes several in an order that changes from run to run.
        described = {**metadata, "digest": _digest(tensors, metadata)}
        save_file(tensors, temporary, {ENTRY: json.dumps(described, sort_keys=True)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote.

    Raises:
        UserError: the file is missing, truncated, altered, or not one of ours.
    """
    if not path.is_file():  # a device or a pipe may have no end
        raise UserError(f"checkpoint {path} cannot be read: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(ENTRY, "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except Exception as error:  # whatever a damaged file makes of the reader
        raise UserError(f"checkpoint {path} cannot be read: {str(error)[:200]}") from None
    digest = metadata.pop("digest", None) if isinstance(metadata, dict) else None
    if digest is None or digest != _digest(tensors, metadata):
        raise UserError(f"checkpoint {path} is damaged: its contents do not match its digest")
    return tensors, metadata


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
