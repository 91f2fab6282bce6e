"""A folder's files over HTTP, and where a file of an asset can be seen so.

As `python -m http.server`, but under this machine's own names alone. Else any web page could read
them, by making its own name lead to 127.0.0.1 (DNS rebinding).
"""

import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

PAGES = "STABLEDREAMER_PAGES"  # environment variable: "<url> <folder that it shows>"


def page_of(path: Path) -> str | None:
    """The file's address, or None where no server shows it."""
    url, _, shown = os.environ.get(PAGES, "").partition(" ")
    path = path.absolute()
    if not url or not path.is_relative_to(shown):
        return None
    return f"{url}/{quote(path.relative_to(shown).as_posix())}"


def own_names(port: int) -> list[str]:
    """What a server at this port is called on this machine."""
    return [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]


def pages_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of the folder on 127.0.0.1; port 0 is any free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_OwnNames, directory=str(folder)))


class _OwnNames(SimpleHTTPRequestHandler):
    """Refuses what was sent under another name."""

    def parse_request(self) -> bool:
        """As for the base class; False where an error was answered."""
        if not super().parse_request():
            return False
        called = [name.lower() for name in self.headers.get_all("Host", [])]
        if len(called) == 1 and called[0] in own_names(self.connection.getsockname()[1]):
            return True
        self.send_error(403, "unknown host")
        return False

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""
