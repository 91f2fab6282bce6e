"""The Prefect server inside the process."""

import http.client
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
