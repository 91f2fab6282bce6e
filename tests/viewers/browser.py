"""Chromium without a screen or a network, asked for one picture by a page of this folder."""

import base64
import http.server
import io
import queue
import shutil
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import imageio.v3 as imageio
import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).parent
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--ignore-gpu-blocklist", "--window-size=300,400", "--no-first-run", "--mute-audio"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Page(http.server.SimpleHTTPRequestHandler):
    """Serves this folder, the programs and the asset; takes the picture."""

    def translate_path(self, path: str) -> str:
        """/node_modules and /asset are elsewhere."""
        name = path.split("?")[0].lstrip("/")
        top, _, rest = name.partition("/")
        roots = {"node_modules": self.server.programs / "node_modules", "asset": self.server.asset}
        return str(roots[top] / rest if top in roots else HERE / name)

    def do_POST(self) -> None:
        """A picture as a data URL, or what went wrong."""
        self.server.pictures.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def guess_type(self, path: str) -> str:
        """Modules need their type."""
        return "text/javascript" if path.endswith((".js", ".mjs")) else super().guess_type(path)

    def log_message(self, *_) -> None:
        """Say nothing."""


@contextmanager
def serve(programs: Path, asset: Path):
    """A server on a free port of the loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.programs, server.asset, server.pictures = programs, asset, queue.Queue()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def picture(server, seconds: float = 120.0, **query: str) -> Tensor:
    """What a program shows of a file: [3, R, R] in [0, 1], on black."""
    url = f"http://127.0.0.1:{server.server_port}/page.html?{urlencode(query)}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            answer = server.pictures.get(timeout=seconds)
        finally:
            process.kill()
            process.wait()
    assert answer.startswith("data:"), answer
    pixels = imageio.imread(io.BytesIO(base64.b64decode(answer.partition(",")[2])))
    values = np.asarray(pixels, dtype=np.float32) / 255.0
    colour = values[..., :3] * values[..., 3:] if values.shape[-1] == 4 else values
    return torch.from_numpy(colour).permute(2, 0, 1)
