"""What bringing Prefect up and down asks of its API. Its client takes seconds to import."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Crashed

LOST = "its process is gone; run it again, and it goes on where it was"
TIMEOUT_S = 10.0


@contextmanager
def client(url: str, auth: str) -> Iterator[SyncPrefectClient]:
    """Prefect's client, which asks once, past any proxy: it is this machine."""
    direct = {"timeout": TIMEOUT_S, "trust_env": False}
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        SyncPrefectClient(url, auth_string=auth, httpx_settings=direct) as asked,
    ):
        yield asked


def create_process_pool(asked: SyncPrefectClient, name: str) -> None:
    """Make the work pool, unless it is there. Its worker fills in the pool's job template."""
    with suppress(ObjectAlreadyExists):
        asked.create_work_pool(WorkPoolCreate(name=name, type="process"))


def worker_heard_of(asked: SyncPrefectClient, pool: str, name: str, since: float) -> bool:
    """Whether the worker was heard of since a time (seconds since 1970)."""
    heard = [
        w.last_heartbeat_time for w in asked.read_workers_for_work_pool(pool) if w.name == name
    ]
    return any(time is not None and time.timestamp() >= since for time in heard)


def crash_lost_runs(asked: SyncPrefectClient, pool: str) -> None:
    """Tell the server that runs it takes for running are not.

    Call it only while no process of the pool is alive. They would hold their deployments'
    concurrency slots, and be shown as running, for ever.
    """
    states = ["RUNNING", "PENDING", "CANCELLING"]
    runs = asked.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": states}}}),
        work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
    )
    for run in runs:
        asked.set_flow_run_state(run.id, Crashed(message=LOST), force=True)
