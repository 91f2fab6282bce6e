"""A picture in the terminal, two pixels a character: to see at once what was made."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path


def picture_lines(path: Path) -> Iterator[str]:
    """Yield the lines that show a picture; none where the output is no terminal with colours."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb" or "NO_COLOR" in os.environ:
        return
    yield from draw(path, min(shutil.get_terminal_size().columns - 1, 120))


def draw(path: Path, columns: int) -> Iterator[str]:
    """Yield a picture's lines of upper half blocks, at most `columns` wide."""
    import numpy as np
    from PIL import Image

    image = Image.open(path).convert("RGB")
    rows = max(1, round(columns * image.height / image.width / 2))
    pixels = np.asarray(image.resize((columns, 2 * rows), Image.Resampling.BOX)).tolist()
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        yield "".join(map(_cell, upper, lower)) + "\x1b[0m"


def _cell(upper: list[int], lower: list[int]) -> str:
    top, bottom = (";".join(map(str, colour)) for colour in (upper, lower))
    return f"\x1b[38;2;{top};48;2;{bottom}m▀"
