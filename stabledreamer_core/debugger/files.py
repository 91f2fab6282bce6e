"""The debugger's records: a strip of pictures and a JSON file each, named alike.

A strip has a row a view and a column a picture, without labels; the JSON says what they are. The
JSON is written last and both atomically, so a record is whole or absent whenever a run is killed.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.rendering import to_bytes

LARGEST_TILE = 256  # pixels; larger pictures are averaged down to keep hundreds of records small

Pictures = dict[str, Tensor]  # column -> [C, 3, H, W] in [0, 1], H = W


@dataclass(frozen=True)
class Seen:
    """What is known of one view of a record."""

    azimuth_deg: float
    elevation_deg: float
    words: str  # the view's words in the prompt
    timestep: int
    noise_level: float  # timestep as a fraction of the prior's schedule
    loss: float  # 1/2 w || x - x0_hat ||^2 / numbers in x


@dataclass(frozen=True)
class DebugRecord:
    """C views of one step of a run, or of a finished stage at one noise level."""

    key: str  # of the stage's settings, prompt, seed and code (keys.step_key)
    stage: int  # 1 or 2
    step: int
    iterations: int
    columns: tuple[str, ...]
    views: tuple[Seen, ...]
    strip: Path | None = None  # once it is written

    def row(self, index: int) -> Image.Image:
        """The pictures of one view side by side.

        Raises:
            UserError: the strip cannot be read.
        """
        assert self.strip is not None
        try:
            with Image.open(self.strip) as picture:
                side = picture.height // len(self.views)
                box = (0, index * side, picture.width, (index + 1) * side)
                return picture.convert("RGB").crop(box)
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damage
            raise UserError(f"{self.strip} cannot be read: {error}; delete it") from None


def write_record(stem: Path, record: DebugRecord, shown: Pictures) -> DebugRecord:
    """Write `stem`.png and `stem`.json; returns the record with its strip."""
    strip, text = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.json")
    with atomic_write(strip) as temporary:
        draw_strip(shown).save(temporary, format="png")
    described = {name: value for name, value in asdict(record).items() if name != "strip"}
    with atomic_write(text) as temporary:
        temporary.write_text(json.dumps(described) + "\n", encoding="utf-8")
    return replace(record, strip=strip)


def draw_strip(shown: Pictures) -> Image.Image:
    """A row a view, a column a picture, in their own size up to `LARGEST_TILE`."""
    tiles = torch.stack([images.float().cpu() for images in shown.values()], 1)  # [C, K, 3, H, W]
    if tiles.shape[-1] > LARGEST_TILE:
        small = torch.nn.functional.interpolate(
            tiles.flatten(0, 1), size=(LARGEST_TILE, LARGEST_TILE), mode="area"
        )
        tiles = small.unflatten(0, tiles.shape[:2])
    rows = tiles.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)  # [C H, K W, 3]
    return Image.fromarray(to_bytes(rows).numpy())


def read_records(folder: Path, pattern: str, key: str | None = None) -> list[DebugRecord]:
    """The whole records in `folder` whose names match, in the order of their names.

    Args:
        key: only records of it; None: of any, but all of one (the newest file's).
    """
    read = {path: _read(path) for path in sorted(folder.glob(f"{pattern}.json"))}
    records = {path: record for path, record in read.items() if record is not None}
    if key is None and records:
        key = records[max(records, key=lambda path: path.stat().st_mtime)].key
    return [record for record in records.values() if record.key == key]


def forget_others(folder: Path, key: str) -> None:
    """Remove the records in `folder` that are not of `key`."""
    for path in folder.glob("*.json"):
        record = _read(path)
        if record is None or record.key != key:
            forget(path)


def forget(path: Path) -> None:
    """Remove one record, given its JSON file."""
    path.unlink(missing_ok=True)
    path.with_suffix(".png").unlink(missing_ok=True)


def _read(path: Path) -> DebugRecord | None:
    """A record, or None where its two files are not there and whole."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content["views"] = tuple(Seen(**view) for view in content["views"])
        content["columns"] = tuple(content["columns"])
        record = DebugRecord(**content, strip=path.with_suffix(".png"))
        with Image.open(path.with_suffix(".png")) as picture:
            width, height = picture.size
    except (OSError, ValueError, TypeError, KeyError):
        return None
    fits = width * len(record.views) == height * len(record.columns)
    return record if record.views and fits else None
