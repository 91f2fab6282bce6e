"""Which failures of an asset may pass when it is tried again."""

import errno
from typing import Any

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
