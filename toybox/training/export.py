"""Writing what was trained: diffusers folders with fp16 safetensors."""

import copy
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stabledreamer_core.assets.mesh.light import write_light
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.priors import write_manifest
from toybox.render import light

KEPT = ("README.md", "figures.json")


def half(module: Any) -> Any:
    """A copy in float16 on the CPU; refuses weights that float16 cannot hold."""
    clone = copy.deepcopy(module).to("cpu", torch.float16, memory_format=torch.contiguous_format)
    for name, tensor in clone.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise RuntimeError(f"{name} does not fit into float16")
    if hasattr(clone, "register_to_config"):
        clone.register_to_config(_name_or_path="")  # where a warm start was read from
    return clone.eval()


def write_pipeline(pipeline: Any, folder: Path) -> None:
    """Save a pipeline so that the folder is whole at any moment, its card and figures kept."""
    replace_folder(folder, lambda temporary: _save(pipeline, temporary))
    write_light(folder, light())


def _save(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder)
    # transformers would load float16 where diffusers loads float32, and the two would not fit.
    path = folder / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"dtype": "float32"}, indent=2, sort_keys=True) + "\n")
    write_manifest(folder)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a new folder with `write` and put it in `folder`'s place.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
            new, old = Path(name) / "new", Path(name) / "old"
            new.mkdir()
            write(new)
            if folder.exists():
                for kept in KEPT:
                    if (folder / kept).exists():
                        shutil.copy2(folder / kept, new / kept)
                folder.rename(old)
            for file in new.rglob("*.safetensors"):
                file.chmod(0o644)  # safetensors makes them private
            new.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error


def write_json(path: Path, values: object) -> None:
    """Write `values` as indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
