"""Show a finished asset: a video of one turn, and a still of it from all sides.

Colours are written as rendered, 8-bit value = colour * 255, so the viewer sees what the priors saw.
"""

from collections.abc import Iterator
from pathlib import Path

import imageio.v2 as imageio
import torch
from PIL import Image

from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.cameras import Views, around, orbit
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import render_chunks, to_bytes
from stabledreamer_core.settings.output import Turntable

# Without all of these, players guess the colour matrix from the video's size, and shift the hues.
COLOR_TAGS = (
    "-vf",
    "scale=out_color_matrix=bt709:out_range=tv,"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=iec61966-2-1",
    *("-movflags", "+faststart"),
)
THREE_QUARTER_DEG = 35.0
SQUARES, DARKER = 16, 0.8  # across a picture; the share of the background's light


def write_turntable(splats: Splats, settings: Turntable, path: Path, device: torch.device) -> None:
    """Write one full turn, starting at the front, as an H.264 video (yuv420p, plays anywhere).

    Frame k is seen from azimuth 360 k / frames, so that the video loops without a jump.

    Raises:
        UserError: `path` cannot be written.
    """
    views = around(
        settings.frames,
        settings.elevation_deg,
        settings.distance,
        settings.fov_deg,
        settings.resolution,
    )
    with (
        atomic_write(path) as temporary,
        imageio.get_writer(
            temporary,
            format="FFMPEG",  # type: ignore[arg-type]
            fps=settings.fps,
            codec="libx264",
            pixelformat="yuv420p",
            quality=8,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=list(COLOR_TAGS),
        ) as video,
    ):
        for renders in renders_of(splats, views, settings, device):
            for frame in to_bytes(renders).cpu().numpy():
                video.append_data(frame)  # type: ignore[attr-defined]


def write_preview(splats: Splats, settings: Turntable, path: Path, device: torch.device) -> None:
    """Write a PNG: a large three-quarter view, then eight small ones from the front around.

    The small views are at azimuth 0, 45, 90, 135 (upper row, from the front over the toy's left)
    and 180, 225, 270, 315 (lower row).

    Raises:
        UserError: `path` cannot be written.
    """
    side = settings.preview_resolution
    around_it = around(8, settings.elevation_deg, settings.distance, settings.fov_deg, side)
    front = orbit(
        torch.tensor([THREE_QUARTER_DEG]),
        torch.tensor([settings.elevation_deg]),
        settings.distance,
        settings.fov_deg,
        2 * side,
    )
    small, large = (
        torch.cat(list(renders_of(splats, views, settings, device))) for views in (around_it, front)
    )
    rows = [torch.cat(list(small[start : start + 4]), 1) for start in (0, 4)]
    picture = torch.cat([large[0], torch.cat(rows, 0)], 1)
    with atomic_write(path) as temporary:
        Image.fromarray(to_bytes(picture).cpu().numpy()).save(temporary, format="PNG")


def renders_of(
    splats: Splats, views: Views, settings: Turntable, device: torch.device
) -> Iterator[torch.Tensor]:
    """Renders [c, H, W, 3] before the settings' background."""
    for renders, alphas in render_chunks(splats, views, settings.background, device):
        if settings.checkers:
            plain = torch.tensor(settings.background, device=renders.device)
            renders = (
                renders - (1.0 - alphas) * (1.0 - checkers(views.resolution).to(plain)) * plain
            )
        yield renders


def checkers(side: int) -> torch.Tensor:
    """A picture [side, side, 1] of squares: 1, or `DARKER`."""
    index = torch.arange(side) * SQUARES // side
    dark = (index[:, None] + index) % 2
    return (1.0 - (1.0 - DARKER) * dark)[..., None]
