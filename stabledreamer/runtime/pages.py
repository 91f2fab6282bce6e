"""A folder of assets over HTTP: its gallery, its files; and where a file can be seen so.

On 127.0.0.1 and under this machine's own names alone (guard.py). Hidden files, links that lead
out of the folder and listings are not served.
"""

import mimetypes
import os
import socket
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

PAGES = "STABLEDREAMER_PAGES"  # environment variable: "<url> <folder that it shows>"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CLOSED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE = CLOSED.replace("form-action 'none'", "form-action 'self'")  # its search
MEDIA = "img-src 'self' data: blob:; media-src 'self'"
FILES_POLICY = f"{CLOSED}; {MEDIA}; style-src 'unsafe-inline'"
# report.html holds all that it shows. Its script may be a stranger's: a sandbox gives it an origin
# of its own, so that it reads no other file of this server.
REPORT_POLICY = (
    f"{CLOSED}; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; sandbox allow-scripts allow-downloads"
)
TYPES = {
    ".glb": "model/gltf-binary",
    ".mp4": "video/mp4",
    ".ply": "application/octet-stream",
    ".safetensors": "application/octet-stream",
}


def page_of(path: Path) -> str | None:
    """The file's address, or None where no server shows it."""
    url, inner = _shown(path)
    return None if inner is None else f"{url}/{quote(inner)}"


def gallery_of(folder: Path) -> str | None:
    """The address of the gallery of this folder's assets, or None where no server shows it."""
    url, inner = _shown(folder)
    if inner is None:
        return None
    return f"{url}/" if inner == "." else f"{url}/?q={quote(inner, safe='')}"


def _shown(path: Path) -> tuple[str, str | None]:
    """The server's address, and the path in the folder that it shows."""
    url, _, shown = os.environ.get(PAGES, "").partition(" ")
    path = path.absolute()
    inside = bool(url) and path.is_relative_to(shown)
    return url, path.relative_to(shown).as_posix() if inside else None


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1; port 0 is any free one.

    Raises:
        OSError, OverflowError: the port cannot be had.
    """
    return socket.create_server(("127.0.0.1", port))


def serve_pages(folder: Path, listening: socket.socket) -> Thread:
    """Serve the folder's pages at the socket, in a thread that ends with the program."""
    return serve_app(pages_app(folder), listening)[1]


def serve_app(app: Any, listening: socket.socket) -> tuple[Any, Thread]:
    """Serve an ASGI app so, under this machine's own names alone.

    Returns:
        the server, which ends once its `should_exit` is set, and its thread.
    """
    import uvicorn

    from stabledreamer.runtime.guard import guarded

    config = uvicorn.Config(
        guarded(app, listening.getsockname()[1]),
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
    )
    # In a thread uvicorn leaves the signals to the program.
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    return server, thread


def pages_app(folder: Path) -> Any:
    """The ASGI app: `/` is the gallery, or leads to the report of a folder that is one asset."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, RedirectResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    from stabledreamer.runtime.gallery import gallery_page

    for suffix, kind in TYPES.items():
        mimetypes.add_type(kind, suffix)

    class Files(StaticFiles):
        """Ranges and types are Starlette's, and that nothing leads out of the folder."""

        def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
            """As for the base class; nothing for a hidden file, nor for a link to one."""
            try:
                full, facts = super().lookup_path(path)
            except ValueError:  # a NUL in the path
                return "", None
            real = os.path.relpath(os.path.realpath(full), os.path.realpath(folder))
            parts = [*Path(path).parts, *Path(real).parts]
            if full and any(part.startswith(".") and part != "." for part in parts):
                return "", None
            return full, facts

        def file_response(self, full_path: Any, *more: Any, **named: Any) -> Response:
            """With a policy for what the file may load and run."""
            response = super().file_response(full_path, *more, **named)
            report = os.path.basename(full_path) == "report.html"
            policy = REPORT_POLICY if report else FILES_POLICY
            response.headers.update({**HEADERS, "Content-Security-Policy": policy})
            return response

    async def home(request: Request) -> Response:
        if (folder / "report.html").is_file():
            return RedirectResponse("/report.html", headers=HEADERS)
        asked = request.query_params
        page, nonce = await run_in_threadpool(
            gallery_page, folder, asked.get("sort", "name"), asked.get("q", "")
        )
        policy = f"{PAGE}; {MEDIA}; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'"
        headers = {**HEADERS, "Content-Security-Policy": policy, "Cache-Control": "no-store"}
        return HTMLResponse(page, headers=headers)

    return Starlette(routes=[Route("/", home), Mount("/", Files(directory=folder))])
