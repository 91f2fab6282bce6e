"""The Prefect server inside the process."""

import asyncio
import http.client
import os
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest


@pytest.mark.slow
def test_an_idle_connection_is_the_clients_to_close(prefect):
    """Uvicorn's own 5 s are shorter than a client's 25: calls at that moment meet a closed one."""
    from prefect.settings import PREFECT_API_URL

    connection = http.client.HTTPConnection(urlsplit(str(PREFECT_API_URL.value())).netloc)
    connection.auto_open = 0
    connection.connect()
    for _ in range(2):
        connection.request("GET", "/api/health")
        assert connection.getresponse().read() == b"true"
        time.sleep(6.0)


def test_requests_are_answered_one_after_another_and_websockets_beside_them():
    from stabledreamer.runtime.server import one_at_a_time

    together, most = set(), []

    async def app(scope, receive, send):
        together.add(receive)
        await asyncio.sleep(0.01)
        most.append(len(together & set(range(8))))
        if receive == 9:
            await asyncio.sleep(0.5)
        together.discard(receive)
        if receive == 3:
            raise OSError("a client that went away")

    async def ask() -> list[object]:
        answer = one_at_a_time(app)
        socket = asyncio.create_task(answer({"type": "websocket"}, 9, None))
        asked = (answer({"type": "http"}, number, None) for number in range(8))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert 9 in together
        await socket
        return answers

    answers = asyncio.run(ask())
    assert max(most) == 1
    assert [number for number, answer in enumerate(answers) if answer] == [3]


MANY = """
import threading
from concurrent.futures import ThreadPoolExecutor

from stabledreamer.runtime.server import AUTH, prefect_server

with prefect_server():
    from prefect import flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
    from prefect.states import Completed, Running

    @flow
    def nothing() -> None: ...

    url, begin = str(PREFECT_API_URL.value()), threading.Barrier(24)

    def run(_: int) -> None:
        without_retries = temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0})
        with without_retries, SyncPrefectClient(url, auth_string=AUTH) as client:
            begin.wait()
            for _ in range(5):
                made = client.create_flow_run(nothing)
                client.set_flow_run_state(made.id, Running())
                client.set_flow_run_state(made.id, Completed())

    with ThreadPoolExecutor(24) as threads:
        print(len(list(threads.map(run, range(24)))), "answered")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_clients_at_once_are_all_answered_the_first_time(tmp_path):
    """As many as workers of a suite. In a process of its own: here Prefect was imported before the
    server could leave out its services, which write to the database as well."""
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(
        [sys.executable, "-c", MANY], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "24 answered\n", done.stderr[-2000:]
