"""Prefect's server, its worker and the assets' pages, on this machine: brought up and down.

Three processes on 127.0.0.1, known by state.json in the folder `serve` of PREFECT_HOME, each with
a log there: `server` (API and page), `pages` (outputs/ over HTTP, for the links of artifacts), and
`worker` (starts a process a flow run). The server asks for a string (`auth_string`), which programs
are given in their environment, never in a command line: that anyone on the machine can read.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import psutil
from filelock import FileLock

from stabledreamer.runtime import prefect_api
from stabledreamer.runtime.pages import PAGES
from stabledreamer.runtime.prefect_home import PROFILES
from stabledreamer.runtime.processes import (
    end,
    end_marked,
    find,
    free_port,
    marked,
    port_is_free,
    start,
)
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.served import ROLES, Served, auth_string, folder, read, write_private
from stabledreamer.runtime.server_app import KEEP_ALIVE_S, server_settings
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write

PORT = 4200  # Prefect's own
POOL = "stabledreamer"  # as in prefect.yaml
WORKER = "local"
OUTPUTS = ROOT / "outputs"
START_PATIENCE_S = 180.0
STOP_PATIENCE_S = 15.0  # for a run to tell that it was stopped


def bring_up(port: int | None, limit: int, say: Callable[[str], None]) -> tuple[Served, bool]:
    """Start what is not running, and wait until it works.

    Args:
        port: of Prefect's server; None is where it is, or `PORT`.
        limit: flow runs at once.
        say: told each step.

    Returns:
        What is up, and whether it was up already.

    Raises:
        UserError: it is up at another port, or something else listens at this one.
        RuntimeError: a process did not start; all is down again then.
    """
    with _alone():
        served = read()
        if served is None or served.down() == list(ROLES):
            end_marked(str(folder()))  # what a lost state.json knew
            port = port or PORT
            served = Served(port, free_port(port + 1))
        if port not in (None, served.port):
            raise UserError(f"already up at {served.page}; stop it before choosing another port")
        if not served.down():
            return served, True
        if "server" in served.down() and not port_is_free(served.port):
            raise UserError(
                f"port {served.port} of 127.0.0.1 is in use by another program; "
                "end that, or choose another port: --port N"
            )
        try:
            _start_missing(served, limit, say)
        except BaseException:
            _end_all(served)
            raise
        return served, False


def bring_down() -> bool:
    """End everything, and wait until it has; returns whether there was anything."""
    with _alone():
        served = read()
        if served is None and not marked(str(folder())):
            return False
        _end_all(served)
        return True


def point_prefect_here(served: Served) -> bool:
    """Let the command `prefect` use this server when it is called in the repository's folder.

    prefect.toml makes it look at `PROFILES` there. People's own profiles are left alone.

    Returns:
        Whether a `prefect` called here and now uses it.
    """
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        load_profiles,
        save_profiles,
    )

    ours = Path(os.environ["PREFECT_PROFILES_PATH"]) == PROFILES
    if ours and Path(os.environ["PREFECT_HOME"]) == PROFILES.parent:
        uses = {PREFECT_API_URL: served.api, PREFECT_API_AUTH_STRING: auth_string()}
        profiles = load_profiles(include_defaults=False)
        profiles.update_profile(settings=uses, name=POOL)
        profiles.set_active(POOL)
        # Prefect writes into the file that is there, and leaves its mode as it is.
        write_private(PROFILES, PROFILES.read_text() if PROFILES.exists() else "")
        save_profiles(profiles)
        elsewhere = any(os.environ.get(one.name, value) != value for one, value in uses.items())
        return Path.cwd() == ROOT and not elsewhere
    return False


def _start_missing(served: Served, limit: int, say: Callable[[str], None]) -> None:
    api = _api(served)

    # 1. The server. Runs of a server that died go on with the new one; lost runs are told it.
    missing = served.down()
    if "server" in missing:
        say("starting Prefect's server")
        settings = server_settings(served.port, api.auth)
        _start(
            served, "server", [sys.executable, "-m", "stabledreamer.runtime.server_app"], settings
        )
        _until(served, "server", lambda: prefect_api.healthy(api))
        prefect_api.create_process_pool(api, POOL)
    if not _runs(served):
        prefect_api.crash_lost_runs(api, POOL)

    # 2. The assets' pages.
    if "pages" in missing:
        served.pages_port = free_port(served.pages_port)
        OUTPUTS.mkdir(exist_ok=True)
        where = [str(OUTPUTS), str(served.pages_port)]
        _start(
            served,
            "pages",
            [sys.executable, "-m", "stabledreamer.runtime.pages_server", *where],
            {},
        )

    # 3. The worker, while the deployments are made.
    began = 0.0
    if "worker" in missing:
        say("starting a worker, deploying prefect.yaml")
        began = time.time()
        where = ["--pool", POOL, "--type", "process", "--name", WORKER, "--limit", str(limit)]
        _start(served, "worker", _prefect("worker", "start", *where), _client_settings(api))
    _deploy(served)
    _until(served, "worker", lambda: prefect_api.worker_online(api, POOL, WORKER, began))
    _until(served, "pages", lambda: not port_is_free(served.pages_port))


def _start(served: Served, role: str, command: list[str], settings: Mapping[str, str]) -> None:
    log = folder() / f"{role}.log"
    environment = {**_environment(served), **settings}
    served.processes[role] = start(command, str(folder()), environment, ROOT, log)
    with atomic_write(folder() / "state.json") as temporary:
        temporary.write_text(json.dumps(asdict(served), indent=2) + "\n", encoding="utf-8")


def _prefect(*arguments: str) -> list[str]:
    """The `prefect` of this environment, whatever is on PATH."""
    return [sys.executable, "-m", "prefect", "--no-prompt", *arguments]


def _environment(served: Served) -> dict[str, str]:
    return {
        "PREFECT_API_URL": served.api,
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_LOG_PRINTS": "true",
        "PREFECT_SERVER_API_KEEPALIVE_TIMEOUT": str(KEEP_ALIVE_S),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        PAGES: f"{served.pages} {OUTPUTS}",
    }


def _api(served: Served) -> prefect_api.Api:
    return prefect_api.Api(served.api, auth_string())


def _client_settings(api: prefect_api.Api) -> dict[str, str]:
    """What a program of Prefect's needs to be answered; a worker hands it on to its runs."""
    return {"PREFECT_API_AUTH_STRING": api.auth, "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true"}


def _deploy(served: Served) -> None:
    log = folder() / "deploy.log"
    environment = {**os.environ, **_environment(served), **_client_settings(_api(served))}
    with open(log, "wb") as output:
        done = subprocess.run(
            _prefect("deploy", "--all"), cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    if done.returncode:
        raise RuntimeError(f"the deployments were refused; {log} says: {_last_line(log)}")


def _until(served: Served, role: str, ready: Callable[[], bool]) -> None:
    """Wait until a process works.

    Raises:
        RuntimeError: it ended instead, or takes too long.
    """
    deadline = time.monotonic() + START_PATIENCE_S
    while not ready():
        ended = find(served.processes[role]) is None
        if ended or time.monotonic() > deadline:
            log = folder() / f"{role}.log"
            what = "ended" if ended else f"did not answer in {START_PATIENCE_S:.0f} s"
            raise RuntimeError(f"Prefect's {role} {what}; {log} says: {_last_line(log)}")
        time.sleep(0.1)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


def _end_all(served: Served | None) -> None:
    """Worker and runs first, so that the server knows that they were stopped."""
    if served is not None:
        server, pages, worker = (find(served.processes.get(role)) for role in ROLES)
        end([*_runs(served), *filter(None, [worker])], STOP_PATIENCE_S)
        if server is not None:
            with suppress(OSError):
                prefect_api.crash_lost_runs(_api(served), POOL)
        end([*filter(None, [pages, server])], STOP_PATIENCE_S)
    end_marked(str(folder()))
    (folder() / "state.json").unlink(missing_ok=True)


def _runs(served: Served) -> list[psutil.Process]:
    """The processes of flow runs: all of ours but the three."""
    ours = {known.pid for known in served.processes.values()}
    return [process for process in marked(str(folder())) if process.pid not in ours]


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
