"""Facts as log lines: `key=value`, which people and programs both read (`--verbose`)."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil
import torch

from stabledreamer.runtime.artifacts import logger
from stabledreamer_core.optimization.observe import Progress

EVERY_S = 30.0
LONGEST = 60  # characters of a value


def key_values(facts: Mapping[str, Any], prefix: str = "") -> str:
    """`a=1 b.c=x` of all that is a single value; tables and curves are left to run.json."""
    words = []
    for key, value in facts.items():
        value = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        if isinstance(value, Mapping):
            words.append(key_values(value, f"{prefix}{key}."))
        elif isinstance(value, float):
            words.append(f"{prefix}{key}={value:.6g}")
        elif isinstance(value, str | int | None):
            text = str(value)[:LONGEST]
            words.append(f"{prefix}{key}={repr(text) if ' ' in text else text}")
        elif isinstance(value, list | tuple) and len(value) <= 3:
            words.append(f"{prefix}{key}={','.join(str(one) for one in value)[:LONGEST]}")
    return " ".join(word for word in words if word)


def _memory_bytes() -> int:
    """What this process holds now, or of a GPU at most so far."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return int(psutil.Process().memory_info().rss)


def log_progress(title: str) -> Callable[[Progress], None]:
    """A callback for `run_stage` that logs step, loss, rate and memory now and then."""
    began, last, first = time.monotonic(), time.monotonic(), 0

    def update(progress: Progress) -> None:
        nonlocal last, first
        first = first or progress.step
        now = time.monotonic()
        if progress.step < progress.iterations and now - last < EVERY_S:
            return
        last = now
        rate = (progress.step - first) / max(now - began, 1e-9)
        facts = {"step": progress.step, "of": progress.iterations, "loss": float(progress.loss)}
        facts |= {"iterations_per_second": rate, "memory_mb": _memory_bytes() / 2**20}
        logger().info("%s: %s", title, key_values(facts))

    return update
