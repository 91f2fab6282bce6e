"""What was measured of a prior: figures.json beside its weights, from which its card is written."""

import json
from pathlib import Path
from typing import Any

import torch

from toybox.training.export import write_json
from toybox.training.settings import Optim
from toybox.training.state import Counters

FIGURES_FILE = "figures.json"


def read_figures(folder: Path) -> dict[str, Any]:
    """The folder's figures; empty where there are none."""
    path = folder / FIGURES_FILE
    if not path.exists():
        return {}
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def record(folder: Path, section: str, values: dict[str, Any]) -> None:
    """Merge `values` into one section of the folder's figures."""
    figures = read_figures(folder)
    figures[section] = figures.get(section, {}) | values
    write_json(folder / FIGURES_FILE, figures)


def earlier_training(warm_start: Path | None, part: str) -> dict[str, float]:
    """Steps and seconds of the training that a warm start goes on from."""
    done = {} if warm_start is None else read_figures(warm_start).get("training", {}).get(part, {})
    return {key: done.get(key, 0) for key in ("steps", "seconds")}


def record_training(
    folder: Path,
    part: str,
    counters: Counters,
    optim: Optim,
    device: torch.device,
    earlier: dict[str, float],
) -> None:
    """Record how long a part was trained, on what, in all."""
    on_gpu = device.type == "cuda"
    values = {
        "steps": counters.step + earlier["steps"],
        "seconds": round(counters.train_seconds + earlier["seconds"]),
        "batch": optim.batch,
        "device": torch.cuda.get_device_name(device) if on_gpu else "CPU",
        "torch": torch.__version__,
    }
    record(folder, "training", {part: values})
