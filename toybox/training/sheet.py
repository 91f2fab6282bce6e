"""Contact sheets: pictures in rows, a caption under each, a dot for the judge's verdict."""

import textwrap
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stabledreamer_core.files import atomic_write

TILE, CAPTION, COLUMNS, WIDTH = 128, 38, 8, 24
RIGHT, WRONG = (60, 170, 90), (215, 70, 60)


def contact_sheet(images: Tensor, captions: list[str], right: list[bool], path: Path) -> None:
    """Write a PNG of images [n, 3, R, R] in [0, 1], captions below them.

    Args:
        right: a green dot where true, a red one where not.
    """
    rows = -(-len(captions) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    for index, (picture, text) in enumerate(zip(pixels, captions, strict=True)):
        x, y = index % COLUMNS * TILE, index // COLUMNS * (TILE + CAPTION)
        tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.BICUBIC)
        sheet.paste(tile, (x, y))
        lines = textwrap.wrap(text, WIDTH)[:3]
        draw.text((x + 4, y + TILE + 1), "\n".join(lines), "black", font, spacing=1)
        colour = RIGHT if right[index] else WRONG
        draw.ellipse((x + TILE - 12, y + 4, x + TILE - 4, y + 12), fill=colour, outline="white")
    with atomic_write(path) as temporary:
        sheet.save(temporary, optimize=True)
