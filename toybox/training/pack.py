"""Carrying trained priors between machines: one tar of everything, cut into pieces."""

import io
import tarfile
from pathlib import Path

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from toybox.training.loop import LOG_FILE

PIECE_BYTES = 15 * 2**20


def pack(priors: Path, images: Path, work: Path, out: Path) -> list[Path]:
    """Write `out`/priors.tar.0, .1, ... of at most 15 MiB each.

    Args:
        priors, images, work: folders of the priors, the contact sheets and the trainings, of
            which only the logs are carried. Inside they have their usual names.
    """
    sources = {Path("priors"): priors, Path("docs/images"): images}
    for log in sorted(work.glob(f"*/{LOG_FILE}")):
        sources[Path(".cache/training") / log.parent.name / LOG_FILE] = log
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, source in sources.items():
            if source.exists():
                tar.add(source, name)
    data = buffer.getvalue()
    pieces = []
    for index, start in enumerate(range(0, len(data), PIECE_BYTES)):
        piece = out / f"priors.tar.{index}"
        with atomic_write(piece) as temporary:
            temporary.write_bytes(data[start : start + PIECE_BYTES])
        pieces.append(piece)
    return pieces


def unpack(source: Path, base: Path) -> list[str]:
    """Put what `pack` left in the folder `source` under `base`; returns the files' names.

    Raises:
        UserError: there is nothing to unpack, or a piece is missing.
    """
    pieces = sorted(source.glob("priors.tar.*"), key=lambda path: int(path.suffix[1:]))
    if not pieces or [int(path.suffix[1:]) for path in pieces] != list(range(len(pieces))):
        raise UserError(f"{source} does not hold all of priors.tar.0, .1, ...")
    data = io.BytesIO(b"".join(piece.read_bytes() for piece in pieces))
    try:
        with tarfile.open(fileobj=data) as tar:
            tar.extractall(base, filter="data")
            return tar.getnames()
    except tarfile.TarError as error:
        raise UserError(f"{source}/priors.tar.* is damaged: {error}") from error
