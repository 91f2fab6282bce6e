"""A page that shows an asset while it is made: `stabledreamer dream ... --live`.

On 127.0.0.1 and under this machine's own names alone (guard.py). What it shows is made by
stabledreamer_core/debugger/live.py; preview.png in the asset's folder is refreshed with it.
"""

import io
import os
import secrets
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from stabledreamer.runtime.pages import CLOSED, HEADERS, listen, serve_app
from stabledreamer_core.debugger.live import VIEWS, Frame, watcher
from stabledreamer_core.distillation.annealing import timestep_range
from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.files import atomic_write
from stabledreamer_core.optimization.observe import Observe
from stabledreamer_core.scene.rendering import to_bytes
from stabledreamer_core.settings.output import Turntable
from stabledreamer_core.settings.stage import Stage

PREVIEW = "preview.png"
NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="  # before there are pictures
CURVE = 48  # points of the noise level over a stage
WATCHED_S = 5.0  # a page that asked so lately is still open
LAST_WORDS_S = 3.0  # for it to hear of the end
CLOSING_S = 1.0


@dataclass
class Live:
    """What the page shows now. The run's thread writes it, the server's reads it."""

    about: dict[str, Any]  # prompt, seed, out
    state: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    version: int = 0
    asked: float = -WATCHED_S  # when the page last asked
    told: int = -1  # the version it was told

    def tell(self, **facts: Any) -> None:
        """Change what is said."""
        self.state = {**self.state, **facts}
        self.version += 1


_live: Live | None = None


@contextmanager
def live_page(prompt: str, seed: int, out: Path, port: int | None) -> Iterator[str]:
    """Serve the page while the block runs; yields its address.

    Raises:
        UserError: the port cannot be had.
    """
    global _live
    try:
        listening = listen(port or 0)
    except (OSError, OverflowError) as error:
        why, _, _ = (getattr(error, "strerror", None) or str(error)).partition(" (")
        raise UserError(
            f"cannot show the run on port {port}: {why}; choose another --port, or leave it out"
        ) from None
    with listening:
        live = _live = Live({"prompt": prompt, "seed": seed, "out": str(out)})
        live.tell(words="it begins: priors are loaded", over=False)
        server, thread = serve_app(live_app(live), listening)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
            live.tell(words=f"finished; look at it: stabledreamer view {out}", over=True)
            deadline = time.monotonic() + LAST_WORDS_S
            while _is_watched(live) and live.told < live.version and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            _live, server.should_exit = None, True
            thread.join(CLOSING_S)


def _is_watched(live: Live) -> bool:
    return time.monotonic() - live.asked < WATCHED_S


def how_to_reach(url: str) -> str:
    """The address, and for a machine without a display the way to it from another."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if display or sys.platform in ("darwin", "win32"):
        return url
    port = url.rstrip("/").rpartition(":")[2]
    name = socket.gethostname()
    return f"{url}  (no display here; from yours: ssh -L {port}:127.0.0.1:{port} {name})"


def say(words: str) -> None:
    """Tell the page, if there is one, what is done now."""
    if _live:
        _live.tell(words=words)


def watch(headline: str, stage: Stage, turntable: Turntable, out: Path) -> Observe | None:
    """An observer that shows a stage on the page, if there is one."""
    live = _live
    if live is None:
        return None
    live.tell(words=headline, curve=_curve(stage), step=0, iterations=stage.iterations, losses=[])
    observe, fails = watcher(stage, turntable, lambda frame: _show(live, frame, out)), False

    def observe_gently(now: Any) -> None:
        nonlocal fails
        if not fails:
            try:
                observe(now)
            except Exception as error:  # a run is worth more than its pictures
                fails = True
                warnings.warn(f"no more live pictures: {first_line(error)}", stacklevel=2)

    return observe_gently


def _curve(stage: Stage) -> list[tuple[float, float]]:
    """Lowest and highest noise level over the stage."""
    annealing = stage.annealing
    return [
        timestep_range(annealing.schedule, point / CURVE, annealing.t_min, annealing.t_max)
        for point in range(CURVE + 1)
    ]


def _show(live: Live, frame: Frame, out: Path) -> None:
    """Put a frame on the page, and the object into the asset's folder."""
    live.pictures = {
        "object": _jpeg(frame.object),
        **{f"render-{row}": _jpeg(image) for row, image in enumerate(frame.renders)},
        **{f"x0_hat-{row}": _jpeg(image) for row, image in enumerate(frame.x0_hats)},
    }
    loss = sum(seen.loss for seen in frame.seen) / len(frame.seen)
    live.tell(
        step=frame.step,
        views=[
            {"words": seen.words, "noise": round(seen.noise_level, 3), "loss": float(seen.loss)}
            for seen in frame.seen
        ],
        losses=[*live.state.get("losses", []), (frame.step, loss)],
    )
    with atomic_write(out / PREVIEW) as temporary:
        _picture(frame.object).save(temporary, format="PNG", compress_level=1)


def _picture(image: Any) -> Any:
    from PIL import Image

    return Image.fromarray(to_bytes(image).numpy())


def _jpeg(image: Any) -> bytes:
    encoded = io.BytesIO()
    _picture(image).save(encoded, format="JPEG", quality=88)
    return encoded.getvalue()


def live_app(live: Live) -> Any:
    """The ASGI app: the page, what it shows as JSON, and the pictures."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    headers = {**HEADERS, "Cache-Control": "no-store", "Content-Security-Policy": CLOSED}

    async def home(_: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"{CLOSED}; img-src 'self' data:; connect-src 'self'; "
            f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'"
        )
        shown = live.pictures

        def source(name: str) -> str:
            return f"/{name}.jpg" if name in shown else NOTHING

        rows = range(sum(name.startswith("render-") for name in shown) or VIEWS)
        now = {"words": "", "step": 0, "iterations": 0, **live.state, **live.about}
        page = _template().render(nonce=nonce, rows=rows, source=source, **now)
        return HTMLResponse(page, headers={**headers, "Content-Security-Policy": policy})

    async def state(_: Request) -> Response:
        live.asked, version = time.monotonic(), live.version
        answer = JSONResponse({**live.state, "version": version}, headers=headers)
        live.told = version
        return answer

    async def picture(request: Request) -> Response:
        found = live.pictures.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404, headers=headers)
        return Response(found, media_type="image/jpeg", headers=headers)

    return Starlette(
        routes=[Route("/", home), Route("/state", state), Route("/{name}.jpg", picture)]
    )


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("live.html")
