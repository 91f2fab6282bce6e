"""Where a file of an asset can be seen over HTTP, if `stabledreamer serve` shows its folder."""

import os
from pathlib import Path
from urllib.parse import quote

PAGES = "STABLEDREAMER_PAGES"  # environment variable: "<url> <folder that it shows>"


def page_of(path: Path) -> str | None:
    """The file's address, or None where no server shows it."""
    url, _, shown = os.environ.get(PAGES, "").partition(" ")
    path = path.absolute()
    if not url or not path.is_relative_to(shown):
        return None
    return f"{url}/{quote(path.relative_to(shown).as_posix())}"
