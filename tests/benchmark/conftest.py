"""Tiny pipelines in the place of published ones, for the benchmarks at true size."""

import pytest
import torch
import yaml

from benchmarks.speed import architectures, rehearsal
from tests.conftest import build_if, build_sd
from tests.tiny_families import (
    build_klein,
    build_pixart,
    build_prx,
    build_prx_pixel,
    build_sana,
    build_sd3,
    build_sdxl,
)

BUILDERS = {
    "if": build_if, "sd": build_sd, "sd3": build_sd3, "sdxl": build_sdxl, "klein": build_klein,
    "pixart": build_pixart, "sana": build_sana, "prx": build_prx, "prx-pixel": build_prx_pixel,
}  # fmt: skip


def described(name):
    """A tiny pipeline as architectures.yaml describes one."""
    pipeline = BUILDERS[name]()
    components, parts, tokens = {}, {}, {}
    for part, module in pipeline.components.items():
        if part.startswith("tokenizer"):
            tokens[part] = 16
        elif isinstance(module, torch.nn.Module):
            config = module.config
            settings = config.to_dict() if hasattr(config, "to_dict") else dict(config)
            components[f"{name}-{part}"] = {"class": type(module).__name__, "settings": settings}
            parts[part] = f"{name}-{part}"
    index = {"_class_name": type(pipeline).__name__}
    if size := getattr(pipeline, "default_sample_size", None):
        index["default_sample_size"] = size
    if name == "klein":
        index["default_sample_size"] = 32
    scheduler = {"_class_name": type(pipeline.scheduler).__name__, **pipeline.scheduler.config}
    return components, {
        "model": f"tiny/{name}", "index": index, "scheduler": name, "components": parts,
        "tokens": tokens, "dtype": "float32",
    }, scheduler  # fmt: skip


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Let architectures.yaml be one of tiny pipelines."""

    def use(*names):
        content = {"components": {}, "pipelines": {}, "schedulers": {}}
        for name in names:
            components, content["pipelines"][name], scheduler = described(name)
            content["components"] |= components
            content["schedulers"][name] = scheduler
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump(_plain(content)))
        monkeypatch.setattr(architectures, "DATA", file)
        architectures.read.cache_clear()

    yield use
    architectures.read.cache_clear()


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Let the paper's settings be small ones."""
    file = tmp_path / "small.yaml"
    stage = {"views": 2, "view_words": "four", "target_reuse": 1}
    dense = {"density": {"start_count": 80}}
    ball = {"count": 60, "scale": 0.3, "opacity": 0.9}
    file.write_text(yaml.safe_dump({
        "gaussians": ball, "stage1": stage, "stage2": stage | dense,
        "mesh": {"views": 12, "view_resolution": 32, "resolution": 24},
    }))  # fmt: skip
    monkeypatch.setattr(rehearsal, "PAPER", file)
