"""The priors in the repository are the kinds that params.yaml takes them for."""

import pytest

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.priors import load_prior


@pytest.mark.parametrize(("stage", "space"), [("stage1", "pixel"), ("stage2", "latent")])
def test_the_default_priors_open(stage: str, space: str) -> None:
    settings = getattr(load_config(), stage)
    prior = load_prior(settings.prior, revision=settings.revision, variant=settings.variant)
    assert prior.space == space
    assert prior.resolution == settings.resolution
    embeddings = prior.embed(["a red bear wearing a top hat, front view", ""])
    assert embeddings.shape[:2] == (2, 77) and embeddings.isfinite().all()
    assert not embeddings[0].allclose(embeddings[1])
