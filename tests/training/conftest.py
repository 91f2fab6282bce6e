from pathlib import Path

import pytest

from toybox.training.settings import SETTINGS, Training, load_training

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "variations=2",
    "samples_per_axis=1",
    "pixel.resolution=16",
    "pixel.channels=[32,32]",
    "pixel.attention_levels=1",
    "flow.resolution=16",
    "flow.width=16",
    "flow.depth=2",
    "flow.heads=2",
    "vae.resolution=32",
    "vae.channels=[16,16,16]",
    "latent.resolution=32",
    "latent.channels=[16,16]",
    "latent.attention_levels=1",
    "judge.resolution=32",
    "judge.render_resolutions=[32]",
    "judge.channels=[8,8,16]",
    "samples.count=2",
    "samples.batch=2",
    "samples.steps=2",
    "samples.sheet=2",
    *(
        f"{part}.optim.{key}"
        for part in ("pixel", "flow", "vae", "latent", "judge")
        for key in ("steps=4", "batch=2", "log_every=1", "warmup_steps=1")
    ),
]


@pytest.fixture(scope="session")
def tiny() -> Training:
    return load_training(SETTINGS, TINY)
