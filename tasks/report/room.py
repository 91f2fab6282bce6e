"""What of an asset's files goes into report.html, which has to stay small enough to mail."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.report.pictures import data_uri

MAX_BYTES = 4_000_000  # of the whole page
AROUND_IT = 400  # bytes of markup about a file


@dataclass(frozen=True)
class Offered:
    """A file that the page would like to hold; the first ones in a list go before the others."""

    name: str  # in the asset's folder
    label: str
    kind: str  # media type
    title: str
    id: str = ""  # by which the page's script finds it
    content: bytes | None = None  # made for the page; else the file's own


@dataclass(frozen=True)
class Embedded:
    """A file within the page."""

    offered: Offered
    uri: str
    save_as: str
    bytes: int

    @property
    def id(self) -> str:
        """As offered."""
        return self.offered.id

    @property
    def label(self) -> str:
        """As offered."""
        return self.offered.label

    @property
    def title(self) -> str:
        """As offered."""
        return self.offered.title

    @property
    def size(self) -> str:
        """In words."""
        return size(self.bytes)


def embed(folder: Path, files: list[Offered], stem: str, room: int) -> Iterator[Embedded]:
    """Those that there are and that fit, in order.

    Args:
        stem: what a saved file's name begins with.
        room: bytes that the page can still take.
    """
    for file in files:
        path = folder / file.name
        if file.content is None and not path.is_file():
            continue
        count = path.stat().st_size if file.content is None else len(file.content)
        needed = 4 * -(-count // 3) + AROUND_IT
        if needed > room:
            continue
        room -= needed
        content = path.read_bytes() if file.content is None else file.content
        _, dot, suffix = file.name.partition(".")
        yield Embedded(file, data_uri(content, file.kind), f"{stem}{dot}{suffix}", count)


def size(count: int) -> str:
    """Bytes in the largest unit of which there is at least one, with three digits: "16.2 KB"."""
    for unit, name in ((10**6, "MB"), (10**3, "KB")):
        if count >= unit * 0.9995:  # else it would be rounded to 1000 of the smaller
            value = count / unit
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {name}"
    return f"{count} byte{'' if count == 1 else 's'}"
