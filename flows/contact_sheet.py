"""All assets of a suite on one page."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from stabledreamer_core.files import atomic_write

COLUMNS = 3
TILE = (576, 192)  # the shape of preview.png
CAPTION_HEIGHT = 24
MARGIN = 8


def write_contact_sheet(out: Path, assets: list[dict[str, Any]]) -> Path | None:
    """Write contact_sheet.png: each asset's preview with its prompt, in the given order.

    Args:
        assets: each with "folder" (below `out`), "prompt" and "seed".

    Returns:
        The file, or None where there is no asset to show.
    """
    if not assets:
        return None
    columns = min(COLUMNS, len(assets))
    rows = -(-len(assets) // columns)
    width, height = TILE[0] + MARGIN, TILE[1] + CAPTION_HEIGHT + MARGIN
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    with ThreadPoolExecutor() as pool:
        tiles = pool.map(_tile, [out / asset["folder"] / "preview.png" for asset in assets])
        for index, (asset, tile) in enumerate(zip(assets, tiles, strict=True)):
            left, top = MARGIN + index % columns * width, MARGIN + index // columns * height
            sheet.paste(tile, (left, top))
            caption = f"{asset['prompt'][:60]} (seed {asset['seed']})"
            draw.text((left + 2, top + TILE[1] + 4), caption, fill="black", font=font)
    path = out / "contact_sheet.png"
    with atomic_write(path) as temporary:
        sheet.save(temporary)
    return path


def _tile(preview: Path) -> Image.Image:
    with Image.open(preview) as opened:
        tile = opened.convert("RGB")
    tile.thumbnail(TILE, Image.Resampling.LANCZOS)
    return tile
