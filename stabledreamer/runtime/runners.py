"""Where a suite's tasks run: in this process, or on the workers of a Ray cluster.

The flow is the same: it submits tasks and asks for their results. With Ray it says of each task
what it needs of a GPU: all of it, a batch's part, or a finishing asset's (ray_gpus.py).

Prefect is imported where it is used: what `check_runner` finds is told before a server starts, and
stabledreamer/runtime/server.py can tell Prefect its settings only before it is imported.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from stabledreamer.runtime.ray_gpus import Kind, places
from stabledreamer_core.errors import UserError

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

Runner = Literal["threads", "ray"]

Result = Callable[[], Any]  # waits, then returns what the task returned, or raises what it raised
Submit = Callable[..., Result]  # submit(task, parameters, gpu: Kind, alike=0, here=False)

STORE_BYTES = 100 * 2**20  # of Ray's memory for results: ours are a few lines of JSON


def check_runner(runner: str, workers: int, batch: int, ray_address: str | None) -> None:
    """Raise a UserError if what a suite is asked to run with cannot be had."""
    for name, value in (("workers", workers), ("batch", batch)):
        if value < 1:
            raise UserError(f"--{name} is {value}; it must be at least 1")
    if runner != "ray" and ray_address:
        raise UserError("--ray-address needs --runner ray")
    if runner == "ray" and not (find_spec("ray") and find_spec("prefect_ray")):
        raise UserError(
            "--runner ray needs the extra `ray`: "
            ".venv/bin/pip install -c constraints.txt -e '.[ray]'"
        )


@contextmanager
def started(runner: Runner, workers: int, ray_address: str | None = None) -> Iterator[Submit]:
    """Yield a function that submits tasks.

    What is submitted with `here=True`, and everything with one thread, waits until its result is
    asked for, and runs then in the thread that asks.

    With Ray, `alike` says how many such tasks come together, so that they spread over the GPUs.

    Args:
        workers: tasks at once; in threads of this process, or as processes of a Ray cluster that
            lives as long as the block.
        ray_address: a Ray cluster that is there already, and has as many as it has.

    Raises:
        UserError: there is no such cluster.
    """
    if runner == "ray":
        with _ray(workers, ray_address) as submit:
            yield submit
    elif workers == 1:
        yield lambda task, parameters, **_: lambda: task(**parameters)
    else:
        from prefect.task_runners import ThreadPoolTaskRunner

        with _leave_running(ThreadPoolTaskRunner(max_workers=workers)) as threads:
            yield (
                lambda task, parameters, here=False, **_: (
                    (lambda: task(**parameters))
                    if here
                    else threads.submit(task, parameters).result
                )
            )


def _check_address(address: str) -> None:
    """Raise a UserError if nothing listens there: Ray itself would try for over a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at --ray-address {address}: {error}; give HOST:PORT"
        ) from None


@contextmanager
def _leave_running(runner: TaskRunner[Any]) -> Iterator[TaskRunner[Any]]:
    """As `with runner`, but an interruption does not wait for the tasks to end."""
    runner.__enter__()
    try:
        yield runner
    except Exception:
        runner.__exit__(None, None, None)
        raise
    runner.__exit__(None, None, None)


@contextmanager
def _ray(workers: int, address: str | None) -> Iterator[Submit]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from prefect.settings import PREFECT_API_URL
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options

    # Every worker reports to the server of this run; else each would start one of its own.
    known = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
    known |= {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "DO_NOT_TRACK": "1"}
    if not address:  # Ray's logs and command lines show these to all; its processes inherit ours
        known.pop("PREFECT_API_AUTH_STRING", None)
    options: dict[str, Any] = {
        "runtime_env": {"env_vars": known},
        "log_to_driver": os.environ.get("PREFECT_LOGGING_LEVEL") == "INFO",  # --verbose
        "logging_level": "ERROR",
    }
    if address:
        _check_address(address)
    else:
        local = {"num_cpus": workers, "object_store_memory": STORE_BYTES}
        options |= {**local, "include_dashboard": False}
    # Without an address, Ray would join a cluster that runs, or once ran, on this machine.
    runner = RayTaskRunner(address=address or "local", init_kwargs=options)
    runner.__enter__()
    try:
        with places() as place:

            def submit(
                task: Any, parameters: dict[str, Any], gpu: Kind = "whole", alike: int = 0, **_: Any
            ) -> Result:
                with remote_options(**place(gpu, alike)):
                    return runner.submit(task, parameters).result

            yield submit
    finally:
        runner.__exit__(None, None, None)
