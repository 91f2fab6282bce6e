"""A Prefect server inside this process, for runs that nobody gave a server to.

Prefect would start one as a second process: 6 to 14 seconds, 200 MB, and it outlives a kill -9.
A thread starts faster and ends with us. Its services (schedules, triggers) stay off: nothing here
is scheduled. It answers this process and its children alone: it asks for a string that only they
are given.
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

from stabledreamer.runtime.served import auth_string, read
from stabledreamer.runtime.server_app import KEEP_ALIVE_S, guarded

AUTH = f"stabledreamer:{secrets.token_urlsafe(32)}"  # another one in each process
SERVICES = (
    "SCHEDULER LATE_RUNS CANCELLATION_CLEANUP FOREMAN TRIGGERS EVENT_PERSISTER EVENT_LOGGER "
    "PAUSE_EXPIRATIONS REPOSSESSOR TASK_RUN_RECORDER"
).split()
START_TIMEOUT_S = 60.0


@contextmanager
def prefect_server() -> Iterator[None]:
    """Give the block a Prefect API: the one the environment names, else our own on loopback.

    Not the one that `stabledreamer serve` brought up, so that stopping it costs no run but its own.
    Both have one database, so its page shows these runs as well.
    """
    for service in SERVICES:
        os.environ.setdefault(f"PREFECT_SERVER_SERVICES_{service}_ENABLED", "false")
    if url := os.environ.get("PREFECT_API_URL"):
        # Set before Prefect reads it: our profile's string is for one server, not for any.
        os.environ.setdefault("PREFECT_API_AUTH_STRING", _string_for(url))
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

    # Nobody here looks for signs of life, and a flow's end waits up to 1 s for who sends them.
    quiet = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    closed = {PREFECT_SERVER_API_AUTH_STRING: AUTH, PREFECT_SERVER_CORS_ALLOWED_ORIGINS: ""}
    with temporary_settings(closed), _serving() as url:
        ours = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: AUTH}
        with temporary_settings({**ours, **quiet}), _in_environment(PREFECT_API_AUTH_STRING.name):
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
    app = guarded(one_at_a_time(create_app(ephemeral=True)), port)
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
    _wait_until_started(server, thread)
    yield f"http://127.0.0.1:{port}/api"
    server.should_exit = True  # after an error the process ends, and the thread with it
    thread.join(timeout=5.0)


@contextmanager
def _in_environment(name: str) -> Iterator[None]:
    """Hand the string on to processes that the block starts, such as Ray's."""
    before = os.environ.get(name)
    os.environ[name] = AUTH
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _string_for(url: str) -> str:
    """What the server at this address asks for, if `stabledreamer serve` brought it up."""
    served = read()
    ours = served is not None and served.api == url.rstrip("/")
    return auth_string() if ours else ""


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


def _wait_until_started(server: object, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not getattr(server, "started", False):
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("Prefect's server did not start; see --verbose")
        time.sleep(0.02)
