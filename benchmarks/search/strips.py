"""Assets as strips of eight views, and a search's strips as contact sheets."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from PIL import Image

from benchmarks.search.results import Result, result_name
from stabledreamer_core.scene.cameras import around
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import render_chunks, to_bytes

VIEWS = 8
GREY = (0.6, 0.6, 0.6)


def strip(splats: Splats, tile: int, device: torch.device) -> Image.Image:
    """Eight views side by side, the first from the front, at the elevation the judge looks from."""
    views = around(VIEWS, 15.0, 3.2, 40.0, tile)
    pictures = torch.cat([p for p, _ in render_chunks(splats, views, GREY, device)])
    rows = to_bytes(pictures).permute(1, 0, 2, 3).reshape(tile, VIEWS * tile, 3)
    return Image.fromarray(rows.cpu().numpy())


def write_strip(splats: Splats, path: Path, device: torch.device) -> None:
    """A strip of small views, as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    strip(splats, 96, device).save(path)


def write_sheets(results: list[Result], out: Path) -> None:
    """One picture a recipe: a row a prompt (first seed), after stage 1 beside after stage 2."""
    for recipe in dict.fromkeys(result["recipe"] for result in results):
        rows = []
        for result in results:
            if result["recipe"] != recipe or result["seed"] != results[0]["seed"]:
                continue
            strips = [out / result_name(result, "strips", f"-{number}.png") for number in (1, 2)]
            rows.append(np.hstack([imageio.imread(path) for path in strips if path.exists()]))
        if rows:
            imageio.imwrite(out / f"sheet-{recipe}.png", np.vstack(rows))
