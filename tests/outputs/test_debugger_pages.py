"""The debugger's sheets, video and part of the report, from records made up here."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from PIL import Image

from stabledreamer_core.debugger.draw import (
    HEADING,
    LABEL_WIDTH,
    TILE,
    by_side,
    write_levels,
    write_steps,
    write_video,
)
from stabledreamer_core.debugger.files import LARGEST_TILE, DebugRecord, Seen, write_record
from stabledreamer_core.errors import UserError
from tasks.report.page import write_report

COLOURS = {"render": (1.0, 0.0, 0.0), "one step": (0.0, 1.0, 0.0), "difference": (0.5, 0.5, 0.5)}


def record(
    folder: Path, step: int, azimuths: tuple[float, ...] = (0.0, 180.0), key: str = "k",
    side: int = 8, name: str = "step", columns: tuple[str, ...] = tuple(COLOURS),
) -> DebugRecord:  # fmt: skip
    """One record whose columns have the flat `COLOURS`, dimmer from view to view."""
    dim = 1.0 - 0.2 * torch.arange(len(azimuths)).reshape(-1, 1, 1, 1)
    shown = {
        column: dim * torch.tensor(COLOURS[column]).reshape(3, 1, 1).expand(3, side, side)
        for column in columns
    }
    views = tuple(Seen(angle, 5.0, "front view", 400, 0.4, 0.25) for angle in azimuths)
    made = DebugRecord(key, 1, step, 100, columns, views)
    return write_record(folder / f"{name}-{step:06d}", made, shown)


def asset(folder: Path, key: str = "k") -> Path:
    stage: dict[str, Any] = {"iterations": 100, "seconds": 1.0, "losses": [], "gaussians": 1}
    content = {
        "prompt": "a red bear", "seed": 0, "device": "cpu", "metrics": {},
        "stages": {"stage1": stage, "stage2": stage}, "config": {}, "packages": {}, "code": {},
        "files": {}, "steps": {"stage1": {"key": key}, "stage2": {"key": key}},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def page_data(folder: Path) -> Any:
    page = write_report(folder).read_text()
    found = re.search(r'id="debugger-data">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def test_large_pictures_are_averaged_down(tmp_path: Path) -> None:
    strip = record(tmp_path, 0, side=2 * LARGEST_TILE).strip
    assert strip
    with Image.open(strip) as picture:
        assert picture.size == (3 * LARGEST_TILE, 2 * LARGEST_TILE)
        assert picture.getpixel((10, LARGEST_TILE + 10)) == (204, 0, 0)


def test_each_side_shows_its_newest_view(tmp_path: Path) -> None:
    angles = [(350.0, 200.0), (80.0, 46.0), (46.0, 10.0)]
    records = [record(tmp_path, step, angle) for step, angle in enumerate(angles)]
    shown = [[place and (place[0].step, place[1]) for place in frame] for frame in by_side(records)]
    assert shown == [
        [(0, 0), None, (0, 1), None],
        [(0, 0), (1, 0), (0, 1), None],  # 80 is nearer to 90 than 46
        [(2, 1), (2, 0), (0, 1), None],
    ]


def test_a_sheet_of_a_run_goes_from_its_first_to_its_last_record(tmp_path: Path) -> None:
    records = [record(tmp_path, step) for step in range(30)]
    write_steps(records, tmp_path / "sheet.png", most=4)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (LABEL_WIDTH + 3 * TILE, HEADING + 4 * TILE)
        for column, colour in enumerate([(255, 0, 0), (0, 255, 0), (128, 128, 128)]):
            place = (LABEL_WIDTH + column * TILE + 9, HEADING + 3 * TILE + 9)
            assert sheet.getpixel(place) == colour


def test_a_sheet_of_levels_has_a_row_a_view_and_level(tmp_path: Path) -> None:
    records = [record(tmp_path, level, name="level") for level in (200, 800)]
    write_levels(records, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        reds = [sheet.getpixel((LABEL_WIDTH + 9, HEADING + row * TILE + 9)) for row in range(4)]
    assert reds == [(255, 0, 0), (255, 0, 0), (204, 0, 0), (204, 0, 0)]  # view by view


def test_the_video_has_a_frame_a_record_and_a_row_a_side(tmp_path: Path) -> None:
    records = [record(tmp_path, 0, columns=("render", "difference"))]  # of before a resume
    records += [record(tmp_path, step, (180.0,)) for step in range(1, 6)]
    write_video(records, tmp_path / "run.mp4")
    video = imageio.mimread(tmp_path / "run.mp4", format="FFMPEG")  # type: ignore[arg-type]
    frames = [np.asarray(frame, int) for frame in video]
    assert len(frames) == 5
    assert frames[0].shape == (HEADING + 4 * TILE, LABEL_WIDTH + 3 * TILE, 3)
    back = frames[-1][HEADING + 2 * TILE + 64, LABEL_WIDTH + TILE + 64]
    assert np.abs(back - [0, 255, 0]).max() < 12
    assert frames[-1][HEADING + 64, LABEL_WIDTH + 64].min() > 240  # nothing seen from the front


def test_the_report_shows_the_run_and_the_result(tmp_path: Path) -> None:
    folder = tmp_path / "debug/stage1"
    for step in range(100):
        record(folder, step)
    record(folder, 0, name="level")
    run, result = page_data(asset(tmp_path))
    assert len(run["frames"]) == 40 and len(run["rows"]) == 80
    assert run["frames"][0]["label"] == "step 0 of 100"
    assert run["frames"][-1]["label"] == "step 99 of 100"
    assert result["frames"] == [{"label": "noise level 0.40", "rows": [0, 1]}]
    row = run["rows"][run["frames"][-1]["rows"][1]]
    assert {"step 99 of 100", "noise level 0.40", "loss 0.25"} <= set(row["lines"])
    encoded = base64.b64decode(row["image"].removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(encoded)) as picture:
        assert picture.size == (24, 8)
        pixel = picture.convert("RGB").getpixel((12, 4))
    assert isinstance(pixel, tuple)
    assert np.abs(np.subtract(pixel, (0, 204, 0))).max() < 6


def test_records_of_another_stage_result_are_not_shown(tmp_path: Path) -> None:
    record(tmp_path / "debug/stage1", 0, key="old")
    assert page_data(asset(tmp_path, key="new")) is None


def test_a_damaged_strip_costs_its_row_alone(tmp_path: Path) -> None:
    folder = tmp_path / "debug/stage1"
    damaged = record(folder, 0, (0.0,), side=64)
    record(folder, 1, (0.0,), side=64)
    assert damaged.strip
    content = damaged.strip.read_bytes()
    damaged.strip.write_bytes(content[:60] + b"\0" * 20 + content[80:])
    with pytest.raises(UserError, match=r"step-000000\.png cannot be read"):
        damaged.row(0)
    (run,) = page_data(asset(tmp_path))
    assert [frame["rows"] for frame in run["frames"]] == [[None], [0]]
