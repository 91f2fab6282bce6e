"""The few calls of Prefect's REST API that bringing it up needs, without Prefect's slow import."""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

CLIENT = str(uuid4())  # to whom the server gives its tokens against forged calls
LOST = "its process is gone; run it again, and it goes on where it was"
TIMEOUT_S = 10.0


class Api(NamedTuple):
    """Where it is, and the string that it asks for."""

    url: str
    auth: str


def healthy(api: Api) -> bool:
    """Whether the server answers."""
    try:
        return call(api, "/health") is True
    except (OSError, ValueError):
        return False


def create_process_pool(api: Api, name: str) -> None:
    """Make the work pool, unless it is there. Its worker fills in the pool's job template."""
    try:
        call(api, "/work_pools/", {"name": name, "type": "process"})
    except urllib.error.HTTPError as error:
        if error.code != 409:  # exists
            raise


def worker_online(api: Api, pool: str, name: str, since: float) -> bool:
    """Whether the worker was heard of since a time (seconds since 1970)."""
    workers = call(api, f"/work_pools/{pool}/workers/filter", {})
    return any(
        worker["name"] == name
        and worker["status"] == "ONLINE"
        and datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() >= since
        for worker in workers
    )


def crash_lost_runs(api: Api, pool: str) -> int:
    """Tell the server that runs it takes for running are not; returns how many.

    Call it only while no process of the pool is alive. They would hold their deployments'
    concurrency slots, and be shown as running, for ever.
    """
    states = ["RUNNING", "PENDING", "CANCELLING"]
    wanted = {
        "work_pools": {"name": {"any_": [pool]}},
        "flow_runs": {"state": {"type": {"any_": states}}},
    }
    runs = call(api, "/flow_runs/filter", wanted)
    for run in runs:
        state = {"type": "CRASHED", "name": "Crashed", "message": LOST}
        call(api, f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    return len(runs)


def call(api: Api, path: str, body: dict[str, Any] | None = None) -> Any:
    """GET, or POST where there is a body; returns the decoded answer.

    Raises:
        OSError: no answer, or (urllib.error.HTTPError) one that says no.
    """
    headers = {
        "content-type": "application/json",
        "authorization": f"Basic {b64encode(api.auth.encode()).decode()}",
    }
    if body is not None:
        token = call(api, f"/csrf-token?client={CLIENT}")["token"]
        headers |= {"prefect-csrf-token": token, "prefect-csrf-client": CLIENT}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(api.url + path, data, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        return json.loads(answer.read() or b"null")
