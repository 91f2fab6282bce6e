"""A contact sheet of kept assets, eight views each, in the order of the prompt file.

    python -m benchmarks.search.make_assets benchmarks/claims/toybox_suite.yaml \\
        --out outputs/suite --batch 40 --only default
    python -m benchmarks.claims.suite_sheet outputs/suite docs/images/suite.png

Nothing is chosen: the first `--count` prompts of `--recipe`, seed `--seed`, worst and best alike.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.search.results import read_results, result_name
from benchmarks.search.strips import strip
from stabledreamer_core.assets.splats.ply import load_ply
from stabledreamer_core.files import atomic_write

CAPTION = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path, help="folder of make_assets")
    parser.add_argument("sheet", type=Path, help="the PNG to write")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--tile", type=int, default=112, help="pixels a view")
    arguments = parser.parse_args()

    wanted, results = (arguments.recipe, arguments.seed), arguments.out / "results.jsonl"
    results = [r for r in read_results(results) if (r["recipe"], r["seed"]) == wanted]
    results = results[: arguments.count]
    strips = []
    for result in results:
        plys = [arguments.out / result_name(result, "plys", f"-{stage}.ply") for stage in (2, 1)]
        splats = load_ply(next(ply for ply in plys if ply.exists()))
        strips.append(strip(splats, arguments.tile, torch.device("cpu")))
    sheet = arrange(strips, [result["prompt"] for result in results], arguments.columns)
    with atomic_write(arguments.sheet) as temporary:
        sheet.save(temporary, format="png", optimize=True)


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
