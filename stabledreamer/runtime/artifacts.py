"""What Prefect's page shows of an asset: one page with its pictures and figures.

Nothing here may fail a run: an asset without its page in Prefect is still an asset.
"""

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from stabledreamer.runtime.pages import gallery_of, page_of

PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def publish_asset(out: Path, record: dict[str, Any]) -> None:
    """Show a finished asset under the key `artifact_key(out)`.

    Args:
        record: what run.json holds.
    """
    with best_effort("the asset's page in Prefect"):
        title = f"{escaped(record['prompt'])}, seed {record['seed']}"
        parts = [
            f"# {title}",
            f"![eight views]({embedded(out / 'preview.png', 768)})",
            " · ".join(filter(None, (report_link(out), gallery_link(out.absolute().parent)))),
            table(("figure", "value"), [(k, number(v)) for k, v in record["metrics"].items()]),
            table(
                ("", "iterations", "seconds", "iterations a second"),
                [
                    (name, one["iterations"], one["seconds"], one["iterations_per_second"])
                    for name, one in record["stages"].items()
                ],
            ),
        ]
        create_markdown_artifact(
            "\n\n".join(parts), key=artifact_key(out), description=record["prompt"]
        )


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Go on after any error in the block, and say so in the log."""
    try:
        yield
    except Exception as error:
        logger().warning("%s could not be written: %s: %s", what, type(error).__name__, error)


def logger() -> Any:
    """The run's logger, which Prefect's page shows; or Prefect's own outside of a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("stabledreamer")


def artifact_key(out: Path) -> str:
    """A folder's name in the letters that Prefect allows: a-z, 0-9 and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", out.absolute().name.lower()).strip("-") or "asset"


def report_link(out: Path) -> str:
    """Markdown: the asset's report, as a link where a server shows it, else where it lies."""
    report = out.absolute() / "report.html"
    page = page_of(report)
    return f"[report]({page})" if page else f"`{report}`"


def gallery_link(folder: Path) -> str:
    """Markdown: the gallery of the folder's assets, or nothing where no server shows it."""
    gallery = gallery_of(folder)
    return f"[gallery]({gallery})" if gallery else ""


def embedded(picture: Path, width: int) -> str:
    """A picture as a data URI, at most `width` pixels wide: seen wherever the page is."""
    with Image.open(picture) as opened:
        small = opened.convert("RGB")
    small.thumbnail((width, 4 * width), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    small.save(encoded, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def number(value: float | None) -> str:
    """Four digits, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.4g}"


def counted(count: int, thing: str) -> str:
    """Such as "1 asset" or "2 assets"."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def escaped(text: str) -> str:
    """Text as Markdown that shows just that, whatever it holds."""
    return PUNCTUATION.sub(r"\\\1", " ".join(text.split()))
