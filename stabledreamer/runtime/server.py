"""A Prefect server inside this process, for runs that nobody gave a server to.

Prefect would start one as a second process: 6 to 14 seconds, 200 MB, and it outlives a kill -9.
A thread starts faster and ends with us. It is a web server alone: nothing here is scheduled or
triggered. It answers this process and its children alone: it asks for a string that only they are
given.
"""

import asyncio
import contextvars
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from stabledreamer.runtime.auth import auth_string
from stabledreamer.runtime.guard import guarded
from stabledreamer.runtime.server_app import KEEP_ALIVE_S
from stabledreamer.runtime.serving import look

AUTH = f"stabledreamer:{secrets.token_urlsafe(32)}"  # another one in each process


@contextmanager
def prefect_server() -> Iterator[None]:
    """Give the block a Prefect API: the one the environment names, else our own on loopback.

    Not the one that `stabledreamer serve` brought up, so that stopping it costs no run but its own.
    Both have one database, so its page shows these runs as well.
    """
    if url := os.environ.get("PREFECT_API_URL"):
        # Set before Prefect reads it: our profile's string is for one server, not for any.
        served = look()
        ours = served is not None and served.api == url.rstrip("/")
        os.environ.setdefault("PREFECT_API_AUTH_STRING", auth_string() if ours else "")
        yield
        return

    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_API_AUTH_STRING,
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS,
        temporary_settings,
    )

    os.environ[PREFECT_API_AUTH_STRING.name] = AUTH  # for processes of ours, such as Ray's
    settings = {
        PREFECT_API_AUTH_STRING: AUTH,
        PREFECT_SERVER_API_AUTH_STRING: AUTH,
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS: "",
        # Nobody here looks for signs of life, and a flow's end waits up to 1 s for who sends them.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
    }
    with (
        temporary_settings(settings),
        _serving() as url,
        temporary_settings({PREFECT_API_URL: url}),
    ):
        yield


@contextmanager
def _serving() -> Iterator[str]:
    """Serve in a thread under the settings of now; yields the API's address."""
    import uvicorn
    from prefect.server.api.server import create_app

    # asyncio sends at once only on sockets made so; else the rest of each answer is 40 ms late.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    app = guarded(one_at_a_time(create_app(ephemeral=True, webserver_only=True)), port)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", timeout_keep_alive=KEEP_ALIVE_S)
    )
    # A thread does not see this one's settings, and websockets are checked by them.
    thread = threading.Thread(
        target=contextvars.copy_context().run,
        args=(server.run, [listener]),
        name="prefect-server",
        daemon=True,
    )
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("Prefect's server did not start; see --verbose")
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/api"
    server.should_exit = True  # after an error the process ends, and the thread with it
    thread.join(timeout=5.0)


def one_at_a_time(app: Any) -> Callable[..., Any]:
    """The ASGI app, answering one request after another.

    Prefect begins a transaction for each. Of two dozen at once SQLite refuses some, which their
    clients try again after 2 and 4 s, or all wait for one another until a timeout of 60 s.
    """
    turn = asyncio.Lock()

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        async with turn if scope["type"] == "http" else nullcontext():
            await app(scope, receive, send)

    return answer
