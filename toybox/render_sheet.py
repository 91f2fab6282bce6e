"""A contact sheet of the whole world: `python -m toybox.render_sheet docs/images/toybox.png`."""

import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stabledreamer_core.files import atomic_write
from toybox.catalogue import CATEGORIES, COLOURS, Toy, accessories_of, accessory_colours_of
from toybox.render import render
from toybox.scenes import toy_batch

VIEWS = 8


def contact_sheet(resolution: int = 96, columns: int = 2, seed: int = 0) -> Tensor:
    """Every category from eight directions, [3, H, W] in [0, 1].

    Each picture has its own colours, accessory, shape variation and background; `columns`
    categories stand side by side.
    """
    generator = torch.Generator().manual_seed(seed)
    strips = []
    for row, category in enumerate(CATEGORIES):
        pictures = []
        for view in range(VIEWS):
            colour = list(COLOURS)[(3 * view + row) % len(COLOURS)]
            kinds = accessories_of(category)
            accessory = kinds[view % len(kinds)] if view % 2 or len(kinds) > 2 else None
            accents = accessory_colours_of(accessory, colour)
            accent = accents[_draw(len(accents), generator)]
            u = torch.rand(3, generator=generator)
            background = u if view % 2 else u[:1].expand(3)
            elevation = 15.0 if view < VIEWS - 1 else 55.0
            batch = toy_batch(
                Toy(category, colour, accessory, accent),
                torch.tensor([view * 360.0 / VIEWS]),
                torch.tensor([elevation]),
                torch.tensor([3.2]),
                background[None],
                variation_seed=_draw(1000, generator),
            )
            pictures.append(render(batch, resolution, samples=3)[0])
        strips.append(torch.cat(pictures, dim=2))
    rows = [torch.cat(strips[k : k + columns], dim=2) for k in range(0, len(strips), columns)]
    return torch.cat(rows, dim=1)


def save_png(image: Tensor, path: Path) -> None:
    """Write [3, H, W] in [0, 1]."""
    pixels = (image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, optimize=True)


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))


if __name__ == "__main__":
    save_png(contact_sheet(), Path(sys.argv[1]))
