"""CLIP score and R-Precision, on a tiny CLIP of the real class with random weights."""

import pytest
import torch

from stabledreamer_core.errors import UserError
from stabledreamer_core.metrics.clip import MEAN, STD, clip_metrics, load_clip, similarities

CPU = torch.device("cpu")
PROMPTS = ["a red bear", "a blue car", "a cat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{a}</w>" for a in letters)]
    tokenizer = CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=32
    )
    part = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {"vocab_size": len(tokens), "max_position_embeddings": 32}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config=part | text | {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1},
            vision_config=part | {"image_size": 32, "patch_size": 8},
            projection_dim=8,
        )
    )
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(folder):
    return load_clip(str(folder), CPU)


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_cosines_are_those_of_the_models_own_forward(clip, images):
    tokens = clip.tokenizer(PROMPTS, padding=True, return_tensors="pt")
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        output = clip.model(pixel_values=(images - mean) / std, **tokens)
    truth = output.logits_per_image / clip.model.logit_scale.exp()
    found = similarities(clip, images, PROMPTS)
    assert torch.allclose(found.float(), truth, atol=1e-5)


def test_a_prompts_cosine_does_not_depend_on_its_company(clip, images):
    together = similarities(clip, images, [*PROMPTS, "a" * 200])  # longer than it reads
    alone = similarities(clip, images, PROMPTS[:1])
    assert torch.allclose(together[:, :1], alone, atol=1e-5)


def test_r_precision_is_the_share_of_views_nearest_to_their_own_prompt(clip, images):
    cosines = similarities(clip, images, PROMPTS)
    for index, prompt in enumerate(PROMPTS):
        others = [other for other in PROMPTS if other != prompt]
        found = clip_metrics(clip, images, prompt, others)
        assert found["clip_score"] == pytest.approx(cosines[:, index].mean().item(), abs=1e-6)
        first = (cosines.argmax(1) == index).double().mean().item()
        assert found["clip_r_precision"] == first
    shares = [clip_metrics(clip, images, p, [q for q in PROMPTS if q != p]) for p in PROMPTS]
    assert sum(share["clip_r_precision"] for share in shares) == 1.0


def test_without_other_prompts_there_is_nothing_to_retrieve_from(clip, images):
    assert clip_metrics(clip, images, PROMPTS[0], [])["clip_r_precision"] is None


@pytest.mark.parametrize("source", ["nowhere/at-all", "./no-such-folder", "priors/toybox-judge"])
def test_absent_weights_are_told_in_one_line_without_the_network(source, monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(UserError, match=r"evaluate\.clip") as error:
        load_clip(source, CPU)
    assert "\n" not in str(error.value) and source in str(error.value)


def test_another_kind_of_model_is_no_clip(tiny_sd):
    with pytest.raises(UserError, match="CLIP"):
        load_clip(str(tiny_sd / "text_encoder"), CPU)


def test_pickled_weights_are_refused(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "clip")
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors"):
        load_clip(str(copy), CPU)
