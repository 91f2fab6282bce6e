"""All assets below a folder on one page, made from each one's run.json as it is asked for.

What stands in a folder is a stranger's: a record is read with care, and the template escapes.
"""

import json
import math
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stabledreamer.runtime.figures import WANTED, direction

DEPTH = 3  # folders below the one that is shown
RECORD, OWNER = "run.json", ".prompt.json"  # of a finished asset; of every asset
MAX_RECORD_BYTES = 16 * 2**20
FIRST = ("category", "colour", "accessory", "view", "multi_face", "chamfer")  # the others fold
DOWNLOADS = {"mesh.glb": "GLB", "gaussians.ply": "PLY", "turntable.mp4": "video"}
OWN_KEYS = {"name": "folder", "prompt": "prompt", "seed": "seed", "seconds": "seconds"}


@dataclass(frozen=True)
class Card:
    """What the gallery shows of an asset."""

    name: str  # its folder, below the one that is shown
    url: str
    prompt: str
    seed: int | None = None
    seconds: float | None = None  # of both stages
    problem: str = ""  # why there is no more to see
    files: dict[str, int] = field(default_factory=dict)  # bytes
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the search looks in."""
        return f"{self.prompt} {self.name}".lower()


def gallery_page(folder: Path, sort: str = "name", query: str = "") -> tuple[str, str]:
    """The page of a folder, and the nonce of its script and styles.

    Args:
        sort: "name", "prompt", "seed", "seconds" or a metric's name (best first).
        query: words that prompt or folder must all hold; the other cards are hidden.
    """
    cards = list(cards_below(folder))
    metrics = sorted({name for card in cards for name in card.metrics}, key=_place)
    keys = {**OWN_KEYS, **{name: f"{_words(name)} {direction(name)}".strip() for name in metrics}}
    sort = sort if sort in keys else "name"
    words = query.lower().split()
    cards = ordered(cards, sort)
    found = [all(word in card.text for word in words) for card in cards]
    nonce = secrets.token_urlsafe(16)
    page = _template().render(
        title=_text(folder.resolve().name),
        cards=list(zip(cards, found, strict=True)),
        count=sum(found),
        unfinished=sum(bool(card.problem) for card in cards),
        first=[*FIRST, sort],
        keys=keys,
        sort=sort,
        query=query,
        downloads=DOWNLOADS,
        sheet=_visible(folder / "contact_sheet.png", folder),
        nonce=nonce,
    )
    return page, nonce


def cards_below(folder: Path) -> Iterator[Card]:
    """The assets of a folder and of the folders in it, by name; links are not followed."""
    for inner in _folders(folder, DEPTH):
        if is_asset(inner):
            yield _card(inner, folder)


def is_asset(folder: Path) -> bool:
    """Whether the folder is an asset's, finished or not."""
    return (folder / RECORD).is_file() or (folder / OWNER).is_file()


def ordered(cards: list[Card], sort: str) -> list[Card]:
    """Best first for a metric, else smallest first; what has no value comes last."""

    def key(card: Card) -> tuple[bool, Any]:
        if sort in OWN_KEYS:
            value = getattr(card, sort)
        else:
            value = card.metrics.get(sort)
            if value is not None:
                value = abs(value - WANTED[sort]) if sort in WANTED else value
        return value is None, 0 if value is None else value

    return sorted(cards, key=key)


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if not depth or (depth < DEPTH and is_asset(folder)):
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            )
    except OSError:
        return  # not ours to read
    for name in names:
        yield from _folders(folder / name, depth - 1)


def _card(asset: Path, shown: Path) -> Card:
    path = asset.relative_to(shown).as_posix()
    url = "/" if path == "." else f"/{quote(os.fsencode(path))}/"
    name = _text(path)
    files = {
        file: (asset / file).stat().st_size
        for file in ("report.html", "preview.png", *DOWNLOADS)
        if _visible(asset / file, shown)
    }
    finished = (asset / RECORD).is_file()
    record = _read(asset / (RECORD if finished else OWNER))
    if record is None:
        return Card(name, url, name, problem="its record cannot be read", files=files)
    stages = record.get("stages")
    stages = list(stages.values()) if isinstance(stages, dict) else []
    times = [_number(stage.get("seconds")) for stage in stages if isinstance(stage, dict)]
    known = [time for time in times if time is not None]
    figures = record.get("metrics")
    metrics = {
        _text(key): number
        for key, value in (figures.items() if isinstance(figures, dict) else ())
        if (number := _number(value)) is not None
    }
    seed = record.get("seed")
    return Card(
        name,
        url,
        _text(record.get("prompt") or name),
        seed if isinstance(seed, int) else None,
        sum(known) if known else None,
        "" if finished else "unfinished; the same command goes on with it",
        files,
        metrics,
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _text(value: Any) -> str:
    """What UTF-8 can hold of it: a name or a record may have lone surrogates."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value)
    return float(value) if good else None


def _visible(path: Path, shown: Path) -> bool:
    """Whether the server would give the file out: it is there, and in the folder."""
    return path.is_file() and path.resolve().is_relative_to(shown.resolve())


def _place(name: str) -> tuple[int, str]:
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def _words(name: str) -> str:
    return name.replace("_", " ")


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words=_words, direction=direction)
    environment.filters["size"] = lambda count: f"{count / 1e6:.1f} MB"
    return environment.get_template("gallery.html")
