"""A Prefect server inside this process, for runs that nobody gave a server to.

Prefect would start one as a second process: 6 to 14 seconds, 200 MB, and it outlives a kill -9.
A thread starts faster and ends with us. Its services (schedules, triggers) stay off: nothing here
is scheduled.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

SERVICES = (
    "SCHEDULER LATE_RUNS CANCELLATION_CLEANUP FOREMAN TRIGGERS EVENT_PERSISTER EVENT_LOGGER "
    "PAUSE_EXPIRATIONS REPOSSESSOR TASK_RUN_RECORDER"
).split()
START_TIMEOUT_S = 60.0
# A call that meets a connection just closed is tried again after 2 s; Prefect's clients close
# their own after 25.
KEEP_ALIVE_S = 60


@contextmanager
def prefect_server() -> Iterator[None]:
    """Give the block a Prefect API: the one the environment names, else our own on loopback.

    Not the one that `stabledreamer serve` brought up, so that stopping it costs no run but its own.
    Both have one database, so its page shows these runs as well.
    """
    for service in SERVICES:
        os.environ.setdefault(f"PREFECT_SERVER_SERVICES_{service}_ENABLED", "false")
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    if os.environ.get("PREFECT_API_URL"):
        yield
        return

    import uvicorn
    from prefect.server.api.server import create_app

    # asyncio sends at once only on sockets made so; else the rest of each answer is 40 ms late.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    app = one_at_a_time(create_app(ephemeral=True))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", timeout_keep_alive=KEEP_ALIVE_S)
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="prefect-server", daemon=True
    )
    thread.start()
    _wait_until_started(server, thread)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    # Nobody here looks for signs of life, and a flow's end waits up to 1 s for who sends them.
    quiet = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings({PREFECT_API_URL: url, **quiet}):
        yield
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


def _wait_until_started(server: object, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not getattr(server, "started", False):
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("Prefect's server did not start; see --verbose")
        time.sleep(0.02)
