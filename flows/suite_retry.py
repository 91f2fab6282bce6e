"""Which failures of an asset may pass when it is tried again."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
from prefect import task

RETRIES = 2
DELAYS_S = [2.0, 10.0]
PASSING = {  # of file systems and networks; a full disk, say, does not pass by itself
    getattr(errno, name)
    for name in (
        "EAGAIN EBUSY EINTR EIO EREMOTEIO ESTALE ETIMEDOUT ECONNABORTED ECONNREFUSED ECONNRESET "
        "EHOSTDOWN EHOSTUNREACH ENETDOWN ENETRESET ENETUNREACH EPIPE"
    ).split()
    if hasattr(errno, name)
}

BUSY = {408, 429}  # HTTP's words for "later"; those from 500 are the server's own faults


@contextmanager
def server_errors() -> Iterator[None]:
    """Errors of Prefect's server as ours: a busy one passes, and Ray cannot carry httpx's errors.

    Raises:
        ConnectionError: the server did not answer, or was not able to.
        RuntimeError: it refused.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        kind = ConnectionError if code in BUSY or code >= 500 else RuntimeError
        raise kind(f"Prefect's server answered {code} to {error.request.url.path}") from error
    except httpx.TransportError as error:
        raise ConnectionError(f"Prefect's server: {type(error).__name__} {error}") from error


def may_pass(error: BaseException | None) -> bool:
    """Whether the error, or what it says caused it, is of a machine rather than of a person."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError):
            return True
        if isinstance(error, OSError) and error.errno in PASSING:
            return True
        error = error.__cause__
    return False


def worth_retrying(task: Any, task_run: Any, state: Any) -> bool:
    """`may_pass`, as Prefect asks it of a failed task."""
    try:
        state.result()
    except Exception as error:
        return may_pass(error)
    return False


# A task that is tried again after such failures.
retried = partial(
    task, retries=RETRIES, retry_delay_seconds=DELAYS_S, retry_condition_fn=worth_retrying
)
