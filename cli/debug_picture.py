"""The SDS debugger's picture: a finished asset as its prior sees it.

Columns are views; the first row is the render, then for each noise level the noised render x_t,
the one-step denoised image (the target of the loss) and the image many steps lead to.
"""

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cli.evaluate import config_of
from stabledreamer_core.cameras import Views, around
from stabledreamer_core.checkpoint import load_checkpoint
from stabledreamer_core.config import ROOT, Stage
from stabledreamer_core.distillation import add_noise
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.keys import STAGE1, STAGE2
from stabledreamer_core.optimize import denoise
from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.rendering import render_chunks, to_bytes
from stabledreamer_core.run_record import read_asset
from stabledreamer_core.seeds import generator
from stabledreamer_core.stage import pick_device
from stabledreamer_core.views import view_index, view_prompts

VIEWS = 4
ELEVATION_DEG = 15.0
MANY_STEPS = 20
TILE = 128
LABEL_WIDTH = 150
GREY = (0.5, 0.5, 0.5)

Row = tuple[str, Tensor]  # label, images [VIEWS, 3, H, W] in [0, 1]


def write_picture(folder: Path, number: int, levels: list[float], path: Path) -> None:
    """Write the picture of a finished asset.

    Args:
        number: which stage's result and prior, 1 or 2.
        levels: noise levels as fractions of the prior's schedule, in (0, 1).

    Raises:
        UserError: no finished asset, its prior cannot be had, or a level is out of range.
    """
    if not all(0.0 < level < 1.0 for level in levels):
        raise UserError("--noise takes levels between 0 and 1, such as 0.2 0.5 0.8")
    record = read_asset(folder)
    config = config_of(folder, record)
    stage = (config.stage1, config.stage2)[number - 1]
    splats, _ = load_checkpoint(folder / (STAGE1, STAGE2)[number - 1])
    device = pick_device(config.device)
    prior = load_prior(
        stage.prior,
        revision=stage.revision,
        variant=stage.variant,
        dtype=stage.dtype,
        device=device,
        base=ROOT,
    )
    cameras = stage.cameras
    views = around(
        VIEWS, ELEVATION_DEG, sum(cameras.distance) / 2, cameras.fov_deg, stage.resolution
    )
    renders = torch.cat([colors for colors, _ in render_chunks(splats, views, GREY, device)])
    rows = _rows(stage, prior, views, renders.permute(0, 3, 1, 2), record["prompt"], levels)
    with atomic_write(path) as temporary:
        _draw(rows).save(temporary, format="png")


@torch.no_grad()
def _rows(
    stage: Stage, prior: Prior, views: Views, images: Tensor, prompt: str, levels: list[float]
) -> list[Row]:
    embeddings = prior.embed([*view_prompts(prompt, stage.view_words), ""])
    seen_from = [
        view_index(azimuth, ELEVATION_DEG, stage.view_words)
        for azimuth in views.azimuth_deg.tolist()
    ]
    cond, uncond = embeddings[seen_from], embeddings[-1:]
    one = stage.model_copy(update={"target_steps": 1})
    many = stage.model_copy(update={"target_steps": MANY_STEPS})
    x = prior.encode(images)
    noise = torch.randn(x.shape, generator=generator("debug")).to(x)
    rows: list[Row] = [("render", images)]
    for level in levels:
        index = round(level * (len(prior.alphas_cumprod) - 1))
        timesteps = torch.full((VIEWS,), index, device=x.device)
        x_t = add_noise(x, noise, prior.alphas_cumprod[timesteps])
        rows.append((f"t = {level:g}, noised", prior.decode(x_t)))
        for label, settings in (("one step", one), (f"{MANY_STEPS} steps", many)):
            x0_hat = denoise(settings, prior, x, noise, timesteps, cond, uncond)
            rows.append((label, prior.decode(x0_hat)))
    return rows


def _draw(rows: list[Row]) -> Image.Image:
    picture = Image.new("RGB", (LABEL_WIDTH + VIEWS * TILE, len(rows) * TILE), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for row, (label, images) in enumerate(rows):
        draw.text((8, row * TILE + TILE // 2 - 8), label, fill="black", font=font)
        for column, pixels in enumerate(to_bytes(images.permute(0, 2, 3, 1)).cpu().numpy()):
            tile = Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.NEAREST)
            picture.paste(tile, (LABEL_WIDTH + column * TILE, row * TILE))
    return picture
