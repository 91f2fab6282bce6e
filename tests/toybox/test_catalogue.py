"""The catalogue's rules."""

import itertools

from toybox.catalogue import CATEGORIES, COLOURS, WORN, all_toys, in_catalogue, toy_index


def test_indices_are_positions() -> None:
    toys = all_toys()
    assert len(set(toys)) == len(toys)
    assert [toy_index(toy) for toy in toys] == list(range(len(toys)))
    assert all(in_catalogue(toy) for toy in toys)


def test_an_accessory_never_has_the_toys_colour_and_fits_its_category() -> None:
    for toy in all_toys():
        assert (toy.accessory is None) == (toy.accessory_colour is None)
        assert toy.accessory_colour != toy.colour
        assert toy.accessory not in WORN or CATEGORIES[toy.category].wears


def test_every_category_comes_in_every_colour_plain_and_on_a_cube() -> None:
    seen = {(toy.category, toy.colour, toy.accessory) for toy in all_toys()}
    for category, colour in itertools.product(CATEGORIES, COLOURS):
        assert (category, colour, None) in seen and (category, colour, "cube") in seen


def test_colours_are_far_apart_even_in_the_shade() -> None:
    for first, second in itertools.combinations(COLOURS.values(), 2):
        for shade in (0.65, 1.0):
            gap = sum((shade * a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5
            assert gap > 0.2
