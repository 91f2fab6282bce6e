"""Descriptions as they are published, where they differ from what `save_pretrained` writes here."""

import json

import pytest
import torch

from stabledreamer_core.errors import UserError
from stabledreamer_core.priors import load_prior
from tests.tiny_families import build_prx, build_prx_pixel


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("library", ["transformers", "prx"])
def test_prx_names_its_text_encoder_by_either_library(library, tmp_path):
    """diffusers' converter of PRX writes "prx", an earlier one "transformers"."""
    pipeline = build_prx()
    pipeline.save_pretrained(tmp_path)
    edit(tmp_path / "model_index.json", text_encoder=[library, "T5GemmaEncoder"])
    pipeline.text_config.save_pretrained(tmp_path / "text_encoder")
    embedding = load_prior(str(tmp_path)).embed(["a red bear"])
    tokens, mask, _, _ = pipeline.encode_prompt(
        ["a red bear"], torch.device("cpu"), do_classifier_free_guidance=False
    )
    torch.testing.assert_close(embedding[..., :-1], tokens)
    assert torch.equal(embedding[..., -1].bool(), mask.bool())
    edit(tmp_path / "model_index.json", text_encoder=["os", "T5GemmaEncoder"])
    with pytest.raises(UserError, match="has no text_encoder"):
        load_prior(str(tmp_path))


def test_positions_of_qwen3_vl_turn_slowly(tmp_path):
    """Its rope_theta, 5,000,000, is no size of anything."""
    build_prx_pixel().save_pretrained(tmp_path)
    edit(tmp_path / "text_encoder/config.json", rope_theta=5000000)
    assert load_prior(str(tmp_path)).embed(["a red bear"]).isfinite().all()
    edit(tmp_path / "text_encoder/config.json", hidden_size=5000000)
    with pytest.raises(UserError, match="hidden_size is 5000000"):
        load_prior(str(tmp_path))
