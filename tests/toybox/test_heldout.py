"""The held-out list is what the draw gives, and hides combinations only."""

from importlib.resources import files

from toybox.catalogue import ACCESSORIES, CATEGORIES, COLOURS, Toy, all_toys
from toybox.heldout import (
    as_yaml,
    draw,
    heldout_combinations,
    heldout_toys,
    is_heldout,
    training_toys,
)


def test_the_committed_file_is_what_the_draw_gives() -> None:
    assert files("toybox").joinpath("heldout.yaml").read_text("utf-8") == as_yaml(draw())


def test_about_a_twentieth_is_held_out_and_the_split_is_whole() -> None:
    assert 0.04 < len(heldout_toys()) / len(all_toys()) < 0.06
    assert set(heldout_toys()) | set(training_toys()) == set(all_toys())
    assert not set(heldout_toys()) & set(training_toys())


def test_the_readme_example_is_held_out() -> None:
    assert is_heldout(Toy("bear", "red", "top hat", "black"))
    assert not is_heldout(Toy("bear", "red", "scarf", "blue"))


def test_every_category_has_one_and_every_colour_and_accessory_occurs() -> None:
    combinations = heldout_combinations()
    assert [category for category, _, _ in combinations] == list(CATEGORIES)
    assert {colour for _, colour, _ in combinations} == set(COLOURS)
    assert {accessory for _, _, accessory in combinations} == set(ACCESSORIES)


def test_training_sees_every_part_of_a_heldout_toy() -> None:
    def pairs(toys: tuple[Toy, ...]) -> set[tuple[object, ...]]:
        return {
            pair
            for toy in toys
            for pair in (
                ("category, colour", toy.category, toy.colour),
                ("category, accessory", toy.category, toy.accessory),
                ("colour, accessory", toy.colour, toy.accessory),
                ("accessory, its colour", toy.accessory, toy.accessory_colour),
                ("both colours", toy.colour, toy.accessory_colour),
            )
        }

    assert pairs(all_toys()) == pairs(training_toys())
