"""Embeddings: the pipeline's own, computed once, and the text encoder gone afterwards."""

import shutil
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import IFPipeline, StableDiffusionPipeline

from stabledreamer_core.priors import Prior, load_prior, text

PIPELINES = {"tiny_if": IFPipeline, "tiny_sd": StableDiffusionPipeline}
PROMPTS = ["A red BEAR wearing a top hat, front view", "", "the blue cube"]


@pytest.fixture
def encoder(monkeypatch) -> list[weakref.ref]:
    """Weak references to every text encoder that is loaded."""
    seen: list[weakref.ref] = []
    original = text._text_pipeline

    def watched(*arguments: Any) -> Any:
        pipeline = original(*arguments)
        assert pipeline.unet is None
        assert getattr(pipeline, "vae", None) is None
        seen.append(weakref.ref(pipeline.text_encoder))
        return pipeline

    monkeypatch.setattr(text, "_text_pipeline", watched)
    return seen


@pytest.mark.parametrize("name", PIPELINES)
def test_embeddings_are_those_of_ordinary_sampling(name: str, request) -> None:
    folder = request.getfixturevalue(name)
    pipeline = PIPELINES[name].from_pretrained(folder)
    truth, unconditional = pipeline.encode_prompt(
        PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    prior = load_prior(str(folder))
    embeddings = prior.embed(PROMPTS)
    assert embeddings.shape == truth.shape and embeddings.shape[1] == 77
    torch.testing.assert_close(embeddings, truth, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prior.embed([""]), unconditional[:1], rtol=1e-4, atol=1e-5)


def test_an_embedding_does_not_depend_on_its_company(tiny_if: Path) -> None:
    together = load_prior(str(tiny_if)).embed(PROMPTS)
    alone = load_prior(str(tiny_if))
    for prompt, embedding in zip(PROMPTS, together, strict=True):
        assert torch.equal(alone.embed([prompt])[0], embedding)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_text_encoder_is_loaded_once_and_freed(name: str, request, encoder) -> None:
    prior = load_prior(str(request.getfixturevalue(name)))
    first = prior.embed(PROMPTS)
    assert len(encoder) == 1 and encoder[0]() is None
    assert torch.equal(prior.embed(PROMPTS[::-1]), first.flip(0))
    assert len(encoder) == 1


def test_unet_and_text_encoder_never_share_memory(tiny_sd: Path, monkeypatch) -> None:
    prior = load_prior(str(tiny_sd))
    embeddings = prior.embed([""])
    x = torch.zeros(1, *prior.sample_shape)
    prior.predict_eps(x, torch.tensor([5]), embeddings)
    unet = weakref.ref(prior._network("unet"))
    original = text._text_pipeline

    def watched(*arguments: Any) -> Any:
        assert unet() is None
        return original(*arguments)

    monkeypatch.setattr(text, "_text_pipeline", watched)
    prior.embed(["another prompt"])
    prior.predict_eps(x, torch.tensor([5]), embeddings)  # and is loaded again


def test_embeddings_are_kept_on_disk(tiny_if: Path, tmp_path: Path, encoder) -> None:
    first = load_prior(str(tiny_if), cache_dir=tmp_path).embed(PROMPTS)
    again = load_prior(str(tiny_if), cache_dir=tmp_path).embed(PROMPTS)
    assert torch.equal(first, again)
    assert len(encoder) == 1
    assert len(list(tmp_path.iterdir())) == len(PROMPTS)


def test_a_damaged_kept_embedding_is_computed_again(tiny_if: Path, tmp_path: Path) -> None:
    first = load_prior(str(tiny_if), cache_dir=tmp_path).embed(PROMPTS)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    assert torch.equal(load_prior(str(tiny_if), cache_dir=tmp_path).embed(PROMPTS), first)


def test_two_priors_do_not_share_embeddings(tiny_if: Path, tiny_sd: Path, tmp_path: Path) -> None:
    one = load_prior(str(tiny_if), cache_dir=tmp_path).embed([""])
    other = load_prior(str(tiny_sd), cache_dir=tmp_path).embed([""])
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", PIPELINES)
def test_an_overlong_prompt_is_cut_with_a_warning(name: str, request) -> None:
    prior = load_prior(str(request.getfixturevalue(name)))
    with pytest.warns(UserWarning, match="its end is not read"):
        assert prior.embed(["a red bear " * 100]).shape[1] == 77


def test_loading_and_running_says_nothing(tiny_sd: Path, capfd, recwarn) -> None:
    prior: Prior = load_prior(str(tiny_sd))
    embeddings = prior.embed(["a bear"])
    x = prior.encode(torch.rand(1, 3, 32, 32))
    prior.predict_eps(x, torch.tensor([5]), embeddings)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert not list(recwarn)


@pytest.mark.slow
def test_torchvision_and_torchaudio_are_not_needed(tiny_if: Path, tiny_sd: Path) -> None:
    import subprocess

    script = (
        "import sys; sys.modules['torchvision'] = sys.modules['torchaudio'] = None\n"
        "import torch\n"
        "from stabledreamer_core.distillation.denoise import sample\n"
        "from stabledreamer_core.priors import load_prior\n"
        "for folder in sys.argv[1:]:\n"
        "    prior = load_prior(folder)\n"
        "    cond, uncond = prior.embed(['a bear', '']).split(1)\n"
        "    sample(prior, cond, uncond, 7.0, 2, torch.Generator())\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script, str(tiny_if), str(tiny_sd)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    text.write_embedding(tmp_path / "file" / "a.safetensors", torch.zeros(2, 3))
    assert text.read_embedding(tmp_path / "file" / "a.safetensors") is None


def test_variants_of_one_prior_do_not_share_embeddings(tiny_if: Path, tmp_path: Path) -> None:
    folder, kept = tmp_path / "prior", tmp_path / "kept"
    shutil.copytree(tiny_if, folder)
    pipeline = IFPipeline.from_pretrained(tiny_if)
    with torch.no_grad():
        for weight in pipeline.text_encoder.parameters():
            weight.mul_(1.5)
    pipeline.to(torch.float16).save_pretrained(folder, variant="fp16")

    def embed(variant: str | None, cache_dir: Path | None) -> torch.Tensor:
        return load_prior(str(folder), variant=variant, cache_dir=cache_dir).embed(["a red bear"])

    plain, half = embed(None, None), embed("fp16", None)
    assert not torch.allclose(plain, half, atol=1e-2)
    assert torch.equal(embed(None, kept), plain)
    assert torch.equal(embed("fp16", kept), half)
