"""Where a suite's tasks run: in this process, or on the workers of a Ray cluster.

The flow is the same: it submits tasks and asks for their results. With Ray and GPUs, a task holds
the part of a GPU that it is submitted with: all of it, a batch's, or a finishing asset's. Finishing
assets are work for the cores, and batches for the GPU, which should never wait for one. But of all
that fits where something ended, Ray takes many small parts before one large one; so a finishing
asset is submitted only when it has room beside three batches, and until then `submit` waits.

Ray ends a worker process after one task that holds a part of a GPU, since a process that has used
one GPU stays there whatever it is given next. That is right for stages, and waste for what comes
after them: seconds of work behind ten seconds of imports. So finishing assets have processes of
their own, which stay and do one after another, each on the GPU it began with.

Prefect is imported where it is used: what `check_runner` finds is told before a server starts, and
flows/server.py can tell Prefect its settings only before it is imported.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from math import ceil, inf
from typing import TYPE_CHECKING, Any, Literal

from stabledreamer_core.errors import UserError

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

Runner = Literal["threads", "ray"]


Result = Callable[[], Any]  # waits, then returns what the task returned, or raises what it raised
Submit = Callable[..., Result]  # submit(task, parameters, gpu=part of one, alike=0, here=False)

# Parts of a GPU. One batch alone leaves half of it idle, and begins with seconds of imports. An
# asset that is past its stages uses it for moments, but 1.7 GB of its memory.
WHOLE, BATCH, FINISHING = 1.0, 9 / 40, 1 / 40
BATCHES_AT_ONCE, FINISHING_AT_ONCE = 3, 13

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
    import ray
    from prefect.settings import PREFECT_API_URL
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options

    # Every worker reports to the server of this run; else each would start one of its own.
    known = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
    known |= {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "DO_NOT_TRACK": "1"}
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
        has = ray.cluster_resources()
        gpus = has.get("GPU", 0)
        room = finishing_at_once(has.get("CPU", 0), gpus) if gpus else inf
        finishing: list[Any] = []

        def submit(
            task: Any, parameters: dict[str, Any], gpu: float = WHOLE, alike: int = 0, **_: Any
        ) -> Result:
            while gpu == FINISHING and len(finishing) >= room:
                finishing[:] = ray.wait(finishing)[1]
            held = worker_options(even_part(gpu, alike, gpus)) if gpus else {}
            with remote_options(num_cpus=1, **held):
                future = runner.submit(task, parameters)
            if gpu == FINISHING:
                finishing.append(future.wrapped_future)
            return future.result

        yield submit
    finally:
        runner.__exit__(None, None, None)


def even_part(gpu: float, alike: int, gpus: float) -> float:
    """A part of a GPU with which few tasks use all GPUs: Ray fills one before it begins another.

    Args:
        gpu: the least that a task holds.
        alike: tasks that come together; 0 if others come later.
        gpus: how many there are.
    """
    return max(gpu, 1.0 / ceil(alike / gpus)) if alike else gpu


def finishing_at_once(cores: float, gpus: float) -> int:
    """How many finishing assets leave three batches a GPU both their core and their part of it."""
    beside = cores / gpus - BATCHES_AT_ONCE
    return max(1, int(gpus * min(FINISHING_AT_ONCE, beside)))


def worker_options(gpu: float) -> dict[str, Any]:
    """Ray's options for a task that holds a part of a GPU.

    Processes are told apart by their environment: one that did a finishing asset does others, and
    nothing else.
    """
    light = gpu == FINISHING
    return {
        "num_gpus": gpu,
        "max_calls": 0 if light else 1,  # 0: as many as come
        "runtime_env": {"env_vars": {"STABLEDREAMER_WORKER": "light" if light else "stages"}},
    }
