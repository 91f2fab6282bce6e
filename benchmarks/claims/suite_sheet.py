"""A contact sheet of kept assets, eight views each, in the order of the prompt file.

    python -m benchmarks.search.recipe_search benchmarks/claims/toybox_suite.yaml \\
        --out outputs/suite --batch 40 --keep --unscored --only default
    python -m benchmarks.claims.suite_sheet outputs/suite docs/images/suite.png

Nothing is chosen: the first `--count` prompts of `--recipe`, seed `--seed`, worst and best alike.
"""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.search.recipe_search import result_name
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.cameras import around
from stabledreamer_core.scene.gaussians import Splats, load_ply
from stabledreamer_core.scene.rendering import render_chunks, to_bytes

VIEWS, CAPTION = 8, 16
GREY = (0.6, 0.6, 0.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, help="folder of a search made with --keep")
    parser.add_argument("sheet", type=Path, help="the PNG to write")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--tile", type=int, default=112, help="pixels a view")
    arguments = parser.parse_args()

    lines = (arguments.out / "results.jsonl").read_text().splitlines()
    wanted = (arguments.recipe, arguments.seed)
    results = [r for r in map(json.loads, lines) if (r["recipe"], r["seed"]) == wanted]
    results = results[: arguments.count]
    strips = []
    for result in results:
        plys = [arguments.out / result_name(result, "plys", f"-{stage}.ply") for stage in (2, 1)]
        splats = load_ply(next(ply for ply in plys if ply.exists()))
        strips.append(strip(splats, arguments.tile, torch.device("cpu")))
    sheet = arrange(strips, [result["prompt"] for result in results], arguments.columns)
    with atomic_write(arguments.sheet) as temporary:
        sheet.save(temporary, format="png", optimize=True)


def strip(splats: Splats, tile: int, device: torch.device) -> Image.Image:
    """Eight views side by side, the first from the front, at the elevation the judge looks from."""
    views = around(VIEWS, 15.0, 3.2, 40.0, tile)
    pictures = torch.cat([p for p, _ in render_chunks(splats, views, GREY, device)])
    rows = to_bytes(pictures).permute(1, 0, 2, 3).reshape(tile, VIEWS * tile, 3)
    return Image.fromarray(rows.cpu().numpy())


def arrange(strips: list[Image.Image], captions: list[str], columns: int) -> Image.Image:
    """Strips below each other, column after column, each under its caption."""
    rows = -(-len(strips) // columns)
    width, height = strips[0].width, strips[0].height + CAPTION
    sheet = Image.new("RGB", (columns * width + 4 * (columns - 1), rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, (picture, caption) in enumerate(zip(strips, captions, strict=True)):
        x, y = index // rows * (width + 4), index % rows * height
        draw.text((x + 4, y), caption, "black", font)
        sheet.paste(picture, (x, y + CAPTION))
    return sheet


if __name__ == "__main__":
    main()
