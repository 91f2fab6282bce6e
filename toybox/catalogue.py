"""Which toys there are: categories, colours, accessories, and every combination of them."""

from dataclasses import dataclass
from functools import cache

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Category:
    """A kind of toy.

    Attributes:
        has_front: all eight directions can be told apart from an image.
        wears: it has a head and a neck, so it can wear a top hat or a scarf.
    """

    name: str
    has_front: bool
    wears: bool


@dataclass(frozen=True, order=True)
class Toy:
    """One toy of the catalogue; `accessory_colour` is None exactly if `accessory` is."""

    category: str
    colour: str
    accessory: str | None = None
    accessory_colour: str | None = None


_CATEGORIES = (
    Category("bear", has_front=True, wears=True),
    Category("bunny", has_front=True, wears=True),
    Category("cat", has_front=True, wears=True),
    Category("penguin", has_front=True, wears=True),
    Category("duck", has_front=True, wears=True),
    Category("snowman", has_front=True, wears=True),
    Category("robot", has_front=True, wears=True),
    Category("fish", has_front=True, wears=False),
    Category("car", has_front=True, wears=False),
    Category("house", has_front=True, wears=False),
    Category("mushroom", has_front=False, wears=False),
    Category("cactus", has_front=False, wears=False),
    Category("mug", has_front=True, wears=False),
    Category("chair", has_front=True, wears=False),
    Category("tree", has_front=False, wears=False),
    Category("rocket", has_front=True, wears=False),
    Category("teapot", has_front=True, wears=False),
    Category("cupcake", has_front=False, wears=False),
)
CATEGORIES: dict[str, Category] = {category.name: category for category in _CATEGORIES}

# Far apart even after shading darkens them to 0.6: orange in the shade stays lighter than brown.
COLOURS: dict[str, Colour] = {
    "red": (0.84, 0.07, 0.08),
    "orange": (1.00, 0.48, 0.04),
    "yellow": (1.00, 0.86, 0.10),
    "green": (0.12, 0.60, 0.16),
    "cyan": (0.12, 0.80, 0.86),
    "blue": (0.10, 0.22, 0.86),
    "purple": (0.48, 0.14, 0.70),
    "pink": (1.00, 0.52, 0.72),
    "brown": (0.36, 0.19, 0.08),
    "white": (0.96, 0.96, 0.96),
}
BLACK: Colour = (0.07, 0.07, 0.08)

ACCESSORIES = ("top hat", "scarf", "cube")
WORN = ("top hat", "scarf")
ACCESSORY_COLOURS: dict[str, Colour] = {**COLOURS, "black": BLACK}


def accessories_of(category: str) -> tuple[str | None, ...]:
    """What a category may come with, None (nothing) first; every category can stand on a cube."""
    worn = WORN if CATEGORIES[category].wears else ()
    return (None, *worn, "cube")


def accessory_colours_of(accessory: str | None, colour: str) -> tuple[str | None, ...]:
    """The colours an accessory of a toy of `colour` may have: never the toy's own.

    Only a top hat may be black.
    """
    if accessory is None:
        return (None,)
    others = tuple(name for name in COLOURS if name != colour)
    return (*others, "black") if accessory == "top hat" else others


@cache
def all_toys() -> tuple[Toy, ...]:
    """Every toy, by category, colour, accessory, accessory colour in the tables' order."""
    return tuple(
        Toy(category, colour, accessory, accessory_colour)
        for category in CATEGORIES
        for colour in COLOURS
        for accessory in accessories_of(category)
        for accessory_colour in accessory_colours_of(accessory, colour)
    )


@cache
def _positions() -> dict[Toy, int]:
    return {toy: index for index, toy in enumerate(all_toys())}


def toy_index(toy: Toy) -> int:
    """Position of a toy in `all_toys()`.

    Raises:
        KeyError: the catalogue has no such toy.
    """
    return _positions()[toy]


def in_catalogue(toy: Toy) -> bool:
    """Whether `all_toys()` holds this toy."""
    return toy in _positions()
