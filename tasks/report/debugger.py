"""The debugger's part of report.html: the run under a slider, pictures and figures side by side."""

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from stabledreamer_core.debugger.draw import Place, alike, by_side, lines
from stabledreamer_core.debugger.files import DebugRecord, read_records
from stabledreamer_core.debugger.record import FOLDER
from stabledreamer_core.errors import UserError

MOST_RECORDS = 40  # of a run, evenly spread
TILE = 128  # larger pictures are averaged down

Group = dict[str, Any]


def debugger_data(asset_dir: Path, record: dict[str, Any], max_bytes: int) -> str:
    """JSON for assets/debugger.js; "null" where nothing of this very asset was recorded.

    Args:
        record: run.json; records of stages made with other settings are left out.
        max_bytes: of the text; fewer records are shown where all do not fit, or none.
    """
    records = []
    for number in (1, 2):
        key = record.get("steps", {}).get(f"stage{number}", {}).get("key")
        folder = asset_dir / FOLDER / f"stage{number}"
        if key is not None:
            run, levels = (read_records(folder, kind, key) for kind in ("step-*", "level-*"))
            records.append((number, run, levels))
    most = MOST_RECORDS
    while most:
        groups = []
        for number, run, levels in records:
            groups += _run(number, run, most) + _levels(number, levels)
        text = json.dumps(groups).replace("<", "\\u003c") if groups else "null"
        if len(text) <= max_bytes:
            return text
        most //= 2
    return "null"


def _run(number: int, records: list[DebugRecord], most: int) -> list[Group]:
    """Over time: a frame a record, a row a side."""
    if not records:
        return []
    records = alike(records)
    frames = by_side(records)
    last, shown = len(records) - 1, min(most, len(records))
    chosen = [round(index * last / max(shown - 1, 1)) for index in range(shown)]
    labels = [f"step {records[index].step} of {records[index].iterations}" for index in chosen]
    return [_group(f"Stage {number}, during the run", labels, [frames[i] for i in chosen])]


def _levels(number: int, records: list[DebugRecord]) -> list[Group]:
    """Over the noise level: a frame a level, a row a view."""
    if not records:
        return []
    labels = [f"noise level {record.views[0].noise_level:.2f}" for record in records]
    frames: list[list[Place | None]] = [
        [(record, view) for view in range(len(record.views))] for record in records
    ]
    return [_group(f"Stage {number}, its result", labels, frames, with_step=False)]


def _group(
    title: str, labels: list[str], frames: list[list[Place | None]], with_step: bool = True
) -> Group:
    """One slider; a row that several frames show is kept once."""
    rows: list[dict[str, Any]] = []
    known: dict[tuple[Path | None, int], int | None] = {}
    for place in (place for frame in frames for place in frame if place):
        name = (place[0].strip, place[1])
        if name not in known:
            image = _image(place)
            known[name] = len(rows) if image else None
            rows += [{"lines": lines(place, with_step), "image": image}] if image else []
    indices = [[known[(place[0].strip, place[1])] for place in frame if place] for frame in frames]
    columns = next(place[0].columns for frame in frames for place in frame if place)
    shown = [{"label": label, "rows": row} for label, row in zip(labels, indices, strict=True)]
    return {"title": title, "columns": list(columns), "rows": rows, "frames": shown}


def _image(place: Place) -> str | None:
    """A view's pictures as a data URI; None where the strip was damaged since it was written."""
    try:
        picture = place[0].row(place[1])
    except UserError:
        return None
    if picture.height > TILE:
        columns = len(place[0].columns)
        picture = picture.resize((columns * TILE, TILE), Image.Resampling.BOX)
    encoded = io.BytesIO()
    picture.save(encoded, format="JPEG", quality=85, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
