"""The priors in the repository are the kinds that params.yaml takes them for."""

import pytest

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.priors import load_prior


@pytest.mark.parametrize(
    ("stage", "source", "space", "tokens"),
    [
        ("stage1", None, "pixel", 77),
        ("stage1", "priors/toybox-flow", "pixel", 32),
        ("stage2", None, "latent", 77),
    ],
)
def test_the_bundled_priors_open(stage: str, source: str | None, space: str, tokens: int) -> None:
    settings = getattr(load_config(), stage)
    prior = load_prior(source or settings.prior)
    assert prior.space == space
    assert prior.resolution == settings.resolution
    embeddings = prior.embed(["a red bear wearing a top hat, front view", ""])
    assert embeddings.shape[:2] == (2, tokens) and embeddings.isfinite().all()
    assert not embeddings[0].allclose(embeddings[1])
