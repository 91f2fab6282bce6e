"""What each colour slot of a part is painted with, for every pair of toy and accessory colour."""

import torch
from torch import Tensor

from toybox.catalogue import ACCESSORY_COLOURS, BLACK, COLOURS, Colour, Toy
from toybox.geometry_parts import SLOTS

FIXED_PAINT = {
    "black": BLACK,
    "white": (0.96, 0.96, 0.96),
    "grey": (0.62, 0.64, 0.67),
    "dark_grey": (0.22, 0.23, 0.26),
    "yellow": (1.00, 0.86, 0.10),
    "orange": (1.00, 0.48, 0.04),
    "red": (0.84, 0.07, 0.08),
    "pink": (1.00, 0.62, 0.72),
    "wood": (0.42, 0.24, 0.11),
    "cream": (0.97, 0.91, 0.76),
    "green": (0.20, 0.70, 0.25),
    "glass": (0.62, 0.87, 0.98),
    "brick": (0.66, 0.30, 0.20),
    "slate": (0.27, 0.29, 0.35),
}

SHADOW = 0.62  # a darker shade of a colour
CREAMY = (1.00, 0.97, 0.92)
TAN = (0.87, 0.82, 0.68)
NO_ACCENT = (0.5, 0.5, 0.5)


def body_paints(name: str) -> dict[str, Colour]:
    """The slots that follow from a toy's colour: its shades, and what must stand out from it."""
    body = COLOURS[name]
    return {
        "body": body,
        "dark": _mixed(body, (0, 0, 0), SHADOW),
        "pale": TAN if name == "white" else _mixed(body, CREAMY, 0.25),
        "beak": COLOURS["yellow" if name in ("orange", "red", "brown") else "orange"],
        "spots": COLOURS["red" if name == "white" else "white"],
    }


def accessory_paints(accent: Colour) -> dict[str, Colour]:
    """The slots that follow from an accessory's colour; black's other shade is a grey."""
    dark = (0.45, 0.45, 0.48) if accent == BLACK else _mixed(accent, (0, 0, 0), SHADOW)
    return {"accessory": accent, "accessory_dark": dark}


def paint_table() -> Tensor:
    """[colours, accessory colours + 1, slots, 3] in the catalogue's order; the last accessory
    colour stands for none.
    """
    accents = [*ACCESSORY_COLOURS.values(), NO_ACCENT]
    table = torch.zeros(len(COLOURS), len(accents), len(SLOTS), 3)
    for slot, paint in FIXED_PAINT.items():
        table[:, :, SLOTS.index(slot)] = torch.tensor(paint)
    for i, name in enumerate(COLOURS):
        for slot, paint in body_paints(name).items():
            table[i, :, SLOTS.index(slot)] = torch.tensor(paint)
    for j, accent in enumerate(accents):
        for slot, paint in accessory_paints(accent).items():
            table[:, j, SLOTS.index(slot)] = torch.tensor(paint)
    return table


def toy_palette(toy: Toy) -> Tensor:
    """[slots, 3]: one toy's colours."""
    accents = [*ACCESSORY_COLOURS, None]
    return paint_table()[list(COLOURS).index(toy.colour), accents.index(toy.accessory_colour)]


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(first, second, strict=True))
    return red, green, blue
