"""What a training does with its device before the first step."""

import os
from pathlib import Path
from typing import Any

import torch


def pick_device(name: str) -> torch.device:
    """The device named "auto", "cpu" or "cuda"; under torchrun this process's own GPU."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    return device


def keep_compiled(work: Path) -> None:
    """Let torch.compile keep what it makes in the work folder, for the next slice."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str((work / "compiled").absolute()))
    os.environ.setdefault("TRITON_CACHE_DIR", str((work / "compiled" / "triton").absolute()))


def prepare(module: Any, compile_: bool, device: torch.device) -> None:
    """Channels-last weights; torch.compile in place, on a GPU."""
    if device.type != "cuda":
        return
    module.to(memory_format=torch.channels_last)
    if compile_:
        module.compile(dynamic=False)


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where it is fast: on a GPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
