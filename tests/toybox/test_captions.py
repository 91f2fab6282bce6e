"""Captions and their reading are inverse, and loose phrases are understood."""

import pytest

from toybox.captions import caption, parse, vocabulary
from toybox.catalogue import Toy, all_toys


def test_parsing_a_caption_gives_its_toy_back() -> None:
    for toy in all_toys():
        parsed = parse(caption(toy))
        assert parsed.toy == toy
        assert parsed.unknown == () and parsed.ignored == ()


def test_captions_are_all_different() -> None:
    assert len({caption(toy) for toy in all_toys()}) == len(all_toys())


@pytest.mark.parametrize(
    ("prompt", "toy"),
    [
        ("a red bear wearing a top hat", Toy("bear", "red", "top hat", "black")),
        ("The Red BEAR!", Toy("bear", "red")),
        ("red bear with a Top-Hat", Toy("bear", "red", "top hat", "black")),
        ("an orange penguin in a blue scarf", Toy("penguin", "orange", "scarf", "blue")),
        ("a blue cube with a red car on it", Toy("car", "red", "cube", "blue")),
        ("a bear that is red", Toy("bear", "red")),
        ("a rabbit that is pink on a green block", Toy("bunny", "pink", "cube", "green")),
        ("a red bear, front left view", Toy("bear", "red")),
    ],
)
def test_loose_phrases(prompt: str, toy: Toy) -> None:
    parsed = parse(prompt)
    assert parsed.toy == toy
    assert parsed.unknown == ()


def test_unknown_words_are_listed_and_known_ones_kept() -> None:
    parsed = parse("a marble statue of a red wizard")
    assert parsed.toy is None and parsed.category is None
    assert parsed.unknown == ("marble", "statue", "wizard")
    assert parsed.known == ("red",)


def test_what_is_not_in_the_catalogue_is_still_described() -> None:
    hatless = parse("a red car wearing a top hat")
    assert hatless.toy is None
    assert (hatless.category, hatless.colour, hatless.accessory) == ("car", "red", "top hat")
    assert parse("a bear").category == "bear" and parse("a bear").toy is None
    assert parse("a red bear wearing a red scarf").toy is None
    assert parse("a black bear").toy is None
    assert parse("a red bear wearing a scarf").toy is None


def test_a_second_object_is_ignored() -> None:
    parsed = parse("a red bear and a blue car")
    assert parsed.toy == Toy("bear", "red")
    assert parsed.ignored == ("blue", "car")


@pytest.mark.parametrize("prompt", ["", "   ", "!?", "the", "12 ünïcödé 熊"])
def test_nothing_makes_it_fail(prompt: str) -> None:
    assert parse(prompt).toy is None


def test_every_word_of_the_vocabulary_is_known() -> None:
    for words in vocabulary().values():
        for word in words:
            assert parse(word).unknown == ()
