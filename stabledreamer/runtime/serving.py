"""Prefect's server, its worker and the assets' pages, on this machine: brought up and down.

Two processes on 127.0.0.1, each with a log in the folder `serve` of PREFECT_HOME: `server` (API and
page; outputs/ over HTTP, for the links of artifacts) and `worker` (starts a process a flow run).
What is up is known from the processes themselves (processes.py).
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import psutil
from filelock import FileLock

from stabledreamer.runtime.auth import auth_string, folder
from stabledreamer.runtime.pages import PAGES
from stabledreamer.runtime.processes import end, free_port, marked, port_is_free, start
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.server_app import KEEP_ALIVE_S, server_settings
from stabledreamer_core.errors import UserError

PORT = 4200  # Prefect's own
POOL = "stabledreamer"  # as in prefect.yaml
WORKER = "local"
OUTPUTS = ROOT / "outputs"
APP = "stabledreamer.runtime.server_app:create_app"
START_PATIENCE_S = 180.0
STOP_PATIENCE_S = 15.0  # for a run to tell that it was stopped


@dataclass(frozen=True)
class Served:
    """What is up, or is to be."""

    page: str  # Prefect's
    pages: str  # the assets'
    living: frozenset[str] = frozenset()  # of server, worker and run

    @property
    def api(self) -> str:
        """Prefect's API."""
        return f"{self.page}/api"

    @property
    def down(self) -> list[str]:
        """The roles whose process has ended."""
        return [role for role in ("server", "worker") if role not in self.living]


def look() -> Served | None:
    """What is up; None where nothing is."""
    found = _processes()
    if not found:
        return None
    knows = found[0].info["environ"]
    page, pages = knows["PREFECT_API_URL"].removesuffix("/api"), knows[PAGES].split(" ")[0]
    return Served(page, pages, frozenset(map(_role, found)))


def bring_up(port: int | None, limit: int) -> tuple[Served, bool]:
    """Start what is not running, say so, and wait until it works.

    Args:
        port: of Prefect's server; None is where it is, or `PORT`.
        limit: flow runs at once.

    Returns:
        What is up, and whether it was up already.

    Raises:
        UserError: it is up at another port, or something else listens at this one.
        RuntimeError: a process did not start; all is down again then.
    """
    with _alone():
        pages_port = free_port((port or PORT) + 1)
        served = look() or Served(_url(port or PORT), _url(pages_port))
        if port and served.page != _url(port):
            raise UserError(f"already up at {served.page}; stop it before choosing another port")
        if not served.down:
            return served, True
        for needed in map(_port, (served.page, served.pages)):
            if "server" in served.down and not port_is_free(needed):
                raise UserError(
                    f"port {needed} of 127.0.0.1 is in use by another program; "
                    "end that, or choose another port: --port N"
                )
        print(f"starting {' and '.join(served.down)} ...", flush=True)
        try:
            _start_missing(served, limit)
        except BaseException:
            _end_all(served)
            raise
        return served, False


def bring_down() -> bool:
    """End everything, and wait until it has; returns whether there was anything."""
    with _alone():
        served = look()
        if served is not None:
            _end_all(served)
        return served is not None


def _start_missing(served: Served, limit: int) -> None:
    # 1. The server. Runs of a server that died go on with the new one; lost runs are told it.
    began = time.time()
    if "server" in served.down:
        OUTPUTS.mkdir(exist_ok=True)
        port = _port(served.page)
        options = f"--host 127.0.0.1 --port {port} --timeout-keep-alive {KEEP_ALIVE_S}"
        command = ["uvicorn", "--factory", APP, *options.split()]
        _start(served, "server", command, server_settings(port, auth_string()))

    from stabledreamer.runtime import prefect_api  # while that starts

    with prefect_api.client(served.api, auth_string()) as client:
        _until("server", lambda: client.api_healthcheck() is None)
        prefect_api.create_process_pool(client, POOL)
        if "run" not in served.living:
            prefect_api.crash_lost_runs(client, POOL)

        # 2. The worker, while the deployments are made.
        if "worker" in served.down:
            options = f"--pool {POOL} --type process --name {WORKER} --limit {limit}"
            _start(served, "worker", ["prefect", "worker", "start", *options.split()], {})
        _deploy(served)
        since = began if "worker" in served.down else 0.0
        _until("worker", lambda: prefect_api.worker_heard_of(client, POOL, WORKER, since))


def _start(served: Served, role: str, module: list[str], settings: dict[str, str]) -> None:
    """Start a module of this environment, whatever is on PATH, as a program that stays."""
    log, environment = folder() / f"{role}.log", {**_environment(served), **settings}
    start([sys.executable, "-m", *module], str(folder()), environment, ROOT, log)


def _environment(served: Served) -> dict[str, str]:
    """What `look` finds in each process, and what a worker hands on to its runs."""
    return {
        "PREFECT_API_URL": served.api,
        "PREFECT_API_AUTH_STRING": auth_string(),
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_LOG_PRINTS": "true",
        PAGES: f"{served.pages} {OUTPUTS}",
    }


def _deploy(served: Served) -> None:
    log, environment = folder() / "deploy.log", {**os.environ, **_environment(served)}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    with open(log, "wb") as output:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    if done.returncode:
        raise RuntimeError(f"the deployments were refused; see {log}")


def _until(role: str, ready: Callable[[], bool]) -> None:
    """Wait until a process works.

    Raises:
        RuntimeError: it ended instead, or takes too long.
    """
    deadline = time.monotonic() + START_PATIENCE_S
    while not ready():
        if role not in map(_role, _processes()) or time.monotonic() > deadline:
            log = folder() / f"{role}.log"
            raise RuntimeError(f"Prefect's {role} ended, or does not answer; see {log}")
        time.sleep(0.1)


def _end_all(served: Served) -> None:
    """Worker and runs first, so that the server knows that they were stopped."""
    end(lambda: [one for one in _processes() if _role(one) != "server"], STOP_PATIENCE_S)
    if _processes():
        from stabledreamer.runtime import prefect_api

        with prefect_api.client(served.api, auth_string()) as client, suppress(httpx.HTTPError):
            prefect_api.crash_lost_runs(client, POOL)
    end(_processes, STOP_PATIENCE_S)


def _processes() -> list[psutil.Process]:
    return marked(str(folder()))


def _role(process: psutil.Process) -> str:
    """Which process it is: the server, the worker, or one of a flow run."""
    command = " ".join(process.info["cmdline"] or ())
    return "server" if APP in command else "worker" if " worker start " in command else "run"


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _port(url: str) -> int:
    return urlsplit(url).port or 0


@contextmanager
def _alone() -> Iterator[None]:
    """One at a time brings things up or down; another one waits."""
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        folder().chmod(0o700)
        held = FileLock(folder() / "lock").acquire()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder()}: {error.strerror}; set PREFECT_HOME to another folder"
        ) from None
    with held:
        yield
