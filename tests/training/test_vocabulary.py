"""Captions, view words on the device, and the tokenizers the pipelines load."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer

from stabledreamer_core.distillation.view_prompts import VOCABULARIES, view_words
from toybox.captions import caption
from toybox.catalogue import all_toys
from toybox.training.settings import Captions
from toybox.training.tokenizers import clip_tokenizer, qwen_tokenizer, t5_tokenizer
from toybox.training.vocabulary import (
    VARIANTS,
    all_captions,
    draw_rows,
    tokenize_all,
    view_variants,
)

MAKERS = {
    T5Tokenizer: t5_tokenizer,
    CLIPTokenizer: clip_tokenizer,
    Qwen2Tokenizer: lambda: qwen_tokenizer(77),
}


def test_view_words_on_the_device_are_those_of_the_core() -> None:
    azimuth = torch.rand(500, generator=torch.Generator().manual_seed(0)) * 360
    elevation = torch.rand(500, generator=torch.Generator().manual_seed(1)) * 100 - 15
    texts = all_captions()
    coarse, fine = view_variants(azimuth, elevation)
    for i, (a, e) in enumerate(zip(azimuth.tolist(), elevation.tolist(), strict=True)):
        assert texts[int(coarse[i])].endswith(view_words(a, e, "four"))
        assert texts[int(fine[i])].endswith(view_words(a, e, "eight"))


def test_rows_name_the_toy_and_keep_their_shares() -> None:
    n, texts, shares = 4000, all_captions(), Captions(empty=0.1, plain=0.15, coarse=0.25)
    toys = torch.full((n,), 77)
    rows = draw_rows(toys, torch.zeros(n), torch.zeros(n), shares, torch.Generator().manual_seed(0))
    drawn = [texts[row] for row in rows.tolist()]
    text = caption(all_toys()[77])
    assert set(drawn) == {"", text, f"{text}, front view"}
    assert drawn.count("") / n == pytest.approx(0.1, abs=0.02)
    assert drawn.count(text) / n == pytest.approx(0.9 * 0.15, abs=0.02)


def test_every_toy_has_its_captions() -> None:
    assert len(all_captions()) == len(all_toys()) * VARIANTS + 1
    assert VARIANTS == 1 + len(VOCABULARIES["four"]) + len(VOCABULARIES["eight"])


@pytest.mark.parametrize("kind", MAKERS)
def test_a_saved_tokenizer_loads_as_its_class_and_says_the_same(kind: type, tmp_path: Path) -> None:
    made = MAKERS[kind]()
    made.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path, local_files_only=True)
    assert type(loaded) is kind
    for text in (
        "",
        "a red bear wearing a blue top hat, front left view",
        "a Marble wizard's hat!",
    ):
        tokens = made(text, padding="max_length", max_length=77, truncation=True)
        assert tokens.input_ids == loaded(text, padding="max_length", max_length=77).input_ids
    known = loaded("a red bear, back view", add_special_tokens=False).input_ids
    assert len(known) == 6
    words = loaded.decode(known).replace(" ,", ",")
    assert words == "a red bear, back view"
    # Merges that occur equally often may change places from one training to the next.
    assert set(MAKERS[kind]().get_vocab()) == set(made.get_vocab())


@pytest.mark.parametrize("kind", MAKERS)
def test_all_captions_differ_and_fit(kind: type) -> None:
    tokenizer, texts = MAKERS[kind](), all_captions()
    table = tokenize_all(tokenizer, torch.device("cpu"))
    theirs = tokenizer(texts[-40:], padding="max_length", max_length=77, return_tensors="pt")
    assert torch.equal(table.ids[-40:], theirs.input_ids)
    assert torch.equal(table.mask[-40:], theirs.attention_mask)
    assert table.ids.shape == (len(texts), 77)
    assert len(table.ids.unique(dim=0)) == len(set(texts))
    assert int(table.mask.sum(1).max()) < 77
