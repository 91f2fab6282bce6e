"""The architectures of the rehearsal are the published ones, counted without memory."""

import re

import pytest
import torch

from benchmarks.speed.architectures import TOLERANCE, build, count, published, read
from benchmarks.speed.random_pipeline import build_text_pipeline, write_folder
from stabledreamer_core.priors import load_prior
from stabledreamer_core.priors.families import FAMILIES

SIDES = {
    "if-xl": 64, "if-m": 64, "sd21": 512, "sd15": 512, "sdxl": 1024,
    "sd3-medium": 1024, "sd35-medium": 1024, "flux2-klein-4b": 512,
}  # fmt: skip


@pytest.mark.parametrize("name", read()["components"])
def test_component_has_its_published_count(name):
    component = read()["components"][name]
    found = count(build(name, "meta"), component.get("buffers", False))
    assert found == component["counted"]
    assert component["source"]
    if component["published"] is None:
        assert "no published count found" in component["source"]
        return
    expected, rounding = published(component["published"])
    assert abs(found - expected) <= max(TOLERANCE * expected, rounding)


@pytest.mark.parametrize(
    ("figure", "expected"),
    [("4.3 B", (4.3e9, 5e7)), ("400 M", (4e8, 5e7)), ("84 M", (84e6, 5e5)), ("1230", (1230, 0.5))],
)
def test_published_count_and_its_rounding(figure, expected):
    assert published(figure) == pytest.approx(expected)


def test_every_family_has_a_pipeline_of_its_classes():
    pipelines, components = read()["pipelines"], read()["components"]
    assert {pipeline["index"]["_class_name"] for pipeline in pipelines.values()} == set(FAMILIES)
    for pipeline in pipelines.values():
        family = FAMILIES[pipeline["index"]["_class_name"]]
        named = {*pipeline["components"], *pipeline["tokens"], "scheduler"}
        assert named == set(family.components)
        for part, name in pipeline["components"].items():
            assert components[name]["class"] in family.components[part]


@pytest.mark.parametrize("name", read()["pipelines"])
def test_networks_fit_together_at_full_size(name, tmp_path, monkeypatch):
    """The denoiser takes what the text encoders give, and denoises what the VAE gives."""
    from transformers import masking_utils

    for asked in ("_ignore_bidirectional_mask_sdpa", "_ignore_causal_mask_sdpa"):  # of no values
        monkeypatch.setattr(masking_utils, asked, lambda *_, **__: False, raising=False)
    described, meta = read()["pipelines"][name], torch.device("meta")
    family = FAMILIES[described["index"]["_class_name"]]
    write_folder(name, tmp_path / name)
    prior = load_prior(str(tmp_path / name), dtype="float32")
    with torch.no_grad():
        embedding = family.embed(build_text_pipeline(name, torch.float32, meta), "a cat", meta)
        denoiser = build(described["components"][family.denoiser], meta)
        x = torch.empty(2, *prior.sample_shape, device=meta)
        told = prior.schedule.timesteps[[3, 900]].to(meta)
        output = family.call(denoiser, x, told, embedding[None].expand(2, -1, -1))
        assert output.shape[0] == 2 and output.shape[2:] == x.shape[2:]
        assert output.shape[1] in (x.shape[1], 2 * x.shape[1])  # with the variance
        if prior.space == "latent":
            vae = build(described["components"]["vae"], meta)
            images = torch.empty(1, 3, prior.resolution, prior.resolution, device=meta)
            assert family.encode(vae, images).shape[1:] == prior.sample_shape
    expected = re.search(r"\d{3,4}$", name)
    assert prior.resolution == (int(expected[0]) if expected else SIDES[name])
