"""A hub on loopback: the few requests that huggingface_hub and our download make of the real one.

It serves folders as models, large files as the hub's LFS has them, and misbehaves as told.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee0000000000000000000000000000000000"


@dataclass
class Hub:
    """What the hub serves, and what it was asked."""

    endpoint: str = ""
    models: dict[str, Path] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    """Status and X-Error-Code of every answer."""
    break_after: dict[str, list[int]] = field(default_factory=dict)
    """Of a file: bytes after which its next connections are cut."""
    spoil: set[str] = field(default_factory=set)
    """Files whose last byte is sent wrong."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, path, Range) of each request."""

    def sent(self, name: str) -> list[str]:
        """The Range headers of the downloads of a file."""
        return [at for method, path, at in self.requests if method == "GET" and path.endswith(name)]


@contextmanager
def stand_in_hub() -> Iterator[Hub]:
    """Serve a hub until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path, self.headers.get("Range", "")))
            if hub.refusal:
                self.refuse(*hub.refusal)
            elif path.startswith("/api/models/"):
                self.tree(path.removeprefix("/api/models/"), body)
            else:
                self.file(path, body)

        def refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def tree(self, path: str, body: bool) -> None:
            model, _, _ = path.partition("/tree/")
            folder = hub.models[model]
            entries = []
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    entry = {"type": "file", "path": file.relative_to(folder).as_posix()}
                    entry |= {"size": file.stat().st_size, "oid": "0" * 40}
                    if file.suffix == ".safetensors":
                        lfs = {"oid": digest(file), "size": file.stat().st_size}
                        entry["lfs"] = lfs | {"pointerSize": 130}
                    entries.append(entry)
            text = json.dumps(entries).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text if body else b"")

        def file(self, path: str, body: bool) -> None:
            model, _, rest = path.lstrip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            if model not in hub.models:
                return self.refuse(404, "RepoNotFound")
            if revision not in ("main", COMMIT):
                return self.refuse(404, "RevisionNotFound")
            file = hub.models[model] / name
            if not file.is_file():
                return self.refuse(404, "EntryNotFound")
            content = file.read_bytes()
            if name in hub.spoil:
                content = content[:-1] + bytes([content[-1] ^ 1])
            start = 0
            if self.headers.get("Range"):
                start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{digest(file)}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if body:
                cuts = hub.break_after.get(name, [])
                cut = cuts.pop(0) if cuts else None
                self.wfile.write(content[start:][:cut])
                if cut is not None:
                    self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def point_at(monkeypatch, endpoint: str) -> None:
    """Make huggingface_hub in this process ask `endpoint`, without a login."""
    from huggingface_hub import constants

    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
