"""Tiny pipelines of every family, with random weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_families as tiny

BUILDERS: dict[str, Callable[[], Any]] = {
    "IFPipeline": tiny.build_ddim_if,
    "StableDiffusionPipeline": tiny.build_ddim_sd,
    "StableDiffusion3Pipeline": tiny.build_sd3,
    "StableDiffusionXLPipeline": tiny.build_sdxl,
    "PixArtSigmaPipeline": tiny.build_pixart,
    "SanaPipeline": tiny.build_sana,
    "Flux2KleinPipeline": tiny.build_klein,
    "PRXPipeline": tiny.build_prx,
    "PRXPixelPipeline": tiny.build_prx_pixel,
}


@pytest.fixture(scope="module", params=BUILDERS)
def pair(request, tmp_path_factory) -> tuple[Any, Path]:
    """A pipeline, and the folder that it was saved to."""
    pipeline = BUILDERS[request.param]()
    folder = tmp_path_factory.mktemp("families") / request.param
    pipeline.save_pretrained(folder)
    if request.param == "PRXPipeline":  # as published
        edit(folder / "model_index.json", text_encoder=["prx", "T5GemmaEncoder"])
        pipeline.text_config.save_pretrained(folder / "text_encoder")
    pipeline = type(pipeline).from_pretrained(folder)
    if request.param == "Flux2KleinPipeline":
        edit(folder / "model_index.json", default_sample_size=32)
    return pipeline, folder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
