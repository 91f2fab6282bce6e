"""Drawing the debugger's records: labelled sheets of a run and of a finished stage, a video."""

from collections.abc import Sequence
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stabledreamer_core.assets.turntable import COLOR_TAGS
from stabledreamer_core.debugger.files import DebugRecord
from stabledreamer_core.files import atomic_write

TILE = 128
LABEL_WIDTH = 150
HEADING = 24
LINE = 17
LONGEST_VIDEO_S = 15.0
SLOWEST_FPS = 4
SIDES = ("front", "left side", "back", "right side")  # azimuth 0, 90, 180, 270

Place = tuple[DebugRecord, int]  # a record and one of its views
Row = tuple[str, Image.Image | None]  # label, pictures side by side


def draw(columns: Sequence[str], rows: list[Row]) -> Image.Image:
    """A labelled sheet: a row for each of `rows`, a column for each of `columns`.

    Args:
        rows: the label may have several lines; the pictures are as many as columns, or None.
    """
    size = (LABEL_WIDTH + len(columns) * TILE, HEADING + len(rows) * TILE)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for index, name in enumerate(columns):
        pen.text((LABEL_WIDTH + index * TILE + 4, 4), name, fill="black", font=font)
    for index, (label, pictures) in enumerate(rows):
        top = HEADING + index * TILE
        for line, text in enumerate(label.splitlines()):
            pen.text((6, top + 8 + line * LINE), text, fill="black", font=font)
        if pictures is not None:
            how = Image.Resampling.NEAREST if pictures.height < TILE else Image.Resampling.BOX
            sheet.paste(pictures.resize((len(columns) * TILE, TILE), how), (LABEL_WIDTH, top))
    return sheet


def row_of(place: Place | None, with_step: bool = True) -> Row:
    """A view's pictures, and beside them where it looks from, the noise level and the loss."""
    if place is None:
        return "", None
    record, index = place
    return "\n".join(lines(place, with_step)), record.row(index)


def lines(place: Place, with_step: bool = True) -> list[str]:
    """What is said of a view, line by line."""
    record, index = place
    seen = record.views[index]
    where = f"azimuth {seen.azimuth_deg:.0f}, elev. {seen.elevation_deg:.0f}"
    step = [f"step {record.step} of {record.iterations}"] if with_step else []
    words = [seen.words] if seen.words else []
    return [*step, *words, where, f"noise level {seen.noise_level:.2f}", f"loss {seen.loss:.3g}"]


def write_levels(records: list[DebugRecord], path: Path) -> None:
    """A finished stage: for each view in turn, its pictures at each noise level."""
    places = [(record, view) for view in range(len(records[0].views)) for record in records]
    _write(draw(records[0].columns, [row_of(place, with_step=False) for place in places]), path)


def write_steps(records: list[DebugRecord], path: Path, most: int = 7) -> None:
    """A run: one view of each of at most `most` records, evenly spread from first to last."""
    records = alike(records)
    count = min(most, len(records))
    chosen = [round(index * (len(records) - 1) / max(count - 1, 1)) for index in range(count)]
    _write(draw(records[0].columns, [row_of((records[index], 0)) for index in chosen]), path)


def write_video(records: list[DebugRecord], path: Path) -> None:
    """A run as an H.264 video: a frame a record, a row a side of the object.

    A row shows the newest view from that side up to the frame's record.
    """
    records = alike(records)
    fps = max(SLOWEST_FPS, round(len(records) / LONGEST_VIDEO_S))
    with (
        atomic_write(path) as temporary,
        imageio.get_writer(
            temporary,
            format="FFMPEG",  # type: ignore[arg-type]
            fps=fps,
            codec="libx264",
            pixelformat="yuv420p",
            quality=8,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=list(COLOR_TAGS),
        ) as video,
    ):
        for places in by_side(records):
            frame = draw(records[0].columns, [row_of(place) for place in places])
            video.append_data(np.asarray(frame))  # type: ignore[attr-defined]


def by_side(records: list[DebugRecord]) -> list[list[Place | None]]:
    """For each record, the newest view of each of `SIDES` up to it; None where there is none yet.

    Of two views from one side in one record the one nearer to the side's middle counts.
    """
    newest: list[Place | None] = [None] * len(SIDES)
    frames = []
    for record in records:
        off: dict[int, tuple[float, int]] = {}
        for index, seen in enumerate(record.views):
            side = round(seen.azimuth_deg / 90.0) % len(SIDES)
            angle = abs((seen.azimuth_deg - 90.0 * side + 180.0) % 360.0 - 180.0)
            off[side] = min(off.get(side, (angle, index)), (angle, index))
        for side, (_, index) in off.items():
            newest[side] = (record, index)
        frames.append(list(newest))
    return frames


def alike(records: list[DebugRecord]) -> list[DebugRecord]:
    """Those with the columns of the last: `debug.many_steps` may change when a run is resumed."""
    return [record for record in records if record.columns == records[-1].columns]


def _write(sheet: Image.Image, path: Path) -> None:
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="png")
