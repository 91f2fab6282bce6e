"""What other web pages, names and users of the machine get from our servers: a refusal."""

import base64
import http.client
import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest

from stabledreamer.runtime import auth, serving
from stabledreamer.runtime.processes import free_port, marked
from stabledreamer.runtime.root import ROOT

PROGRAMS = Path(sys.executable).parent
EVIL = "http://evil.example"
POOL = {"name": "evil", "type": "process", "base_job_template": {}}
WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "prefect",
}


class Up(NamedTuple):
    """A server that is up."""

    home: Path
    port: int
    pages_port: int
    auth: str  # empty where the server asks for nothing
    said: str  # by the command that brought it up


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    allowed: str | None  # the origin that may read it
    body: bytes


def environment(home: Path, **more: str) -> dict[str, str]:
    """Without what the session's own server is."""
    kept = {name: value for name, value in os.environ.items() if "PREFECT_API" not in name}
    return {**kept, "PREFECT_HOME": str(home), "OMP_NUM_THREADS": "1", **more}


def ask(
    port: int, method: str, path: str, headers: dict[str, str] | None = None, body: object = None
) -> Answer:
    """One request, with the Host header that `headers` names, if they do."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    data = None if body is None else json.dumps(body)
    connection.request(method, path, data, headers or {})
    answer = connection.getresponse()
    allowed = answer.getheader("access-control-allow-origin")
    switched = answer.status == 101
    found = Answer(answer.status, allowed, b"" if switched else answer.read())
    connection.close()
    return found


def basic(auth: str) -> dict[str, str]:
    """The header that gives a string."""
    return {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"}


@pytest.fixture(scope="module")
def up(tmp_path_factory) -> Iterator[Up]:
    """What `stabledreamer serve` brings up."""
    home, port = tmp_path_factory.mktemp("served") / "home", free_port(2**16)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [PROGRAMS / "stabledreamer", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=300
        )

    try:
        done = call("serve", "--port", str(port))
        assert done.returncode == 0, done.stdout + done.stderr
        kept = home / "serve" / "auth_string"
        string = kept.read_text().strip() if kept.exists() else ""
        pages_port = re.search(r"http://127\.0\.0\.1:(\d+) \(assets\)", done.stdout)
        assert pages_port
        yield Up(home, port, int(pages_port[1]), string, done.stdout)
    finally:
        call("stop")
    assert marked(str(home / "serve")) == []


@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_page_from_elsewhere_may_not_call(up, origin):
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = ask(up.port, "OPTIONS", "/api/work_pools/", {"Origin": origin, **asks})
    assert preflight.status in (400, 403) and preflight.allowed is None

    # What a browser sends without asking first.
    simple = {"Origin": origin, "Content-Type": "text/plain"}
    forged = {"Prefect-Csrf-Token": "a", "Prefect-Csrf-Client": "b"}
    for headers in (simple, {**simple, **basic(up.auth)}, {**simple, **basic(up.auth), **forged}):
        answer = ask(up.port, "POST", "/api/work_pools/", headers, POOL)
        assert answer.status in (401, 403) and answer.allowed is None
    assert ask(up.port, "GET", "/api/work_pools/evil", basic(up.auth)).status == 404


@pytest.mark.parametrize(
    "headers",
    [{}, basic("a:b"), basic(""), {"Authorization": "Basic ?"}, {"Authorization": "Bearer x"}],
)
def test_without_the_string_there_is_nothing(up, headers):
    for path in ("/api/admin/version", "/api/csrf-token?client=evil", "/api/work_pools/evil"):
        assert ask(up.port, "GET", path, headers).status == 401
    assert ask(up.port, "POST", "/api/work_pools/", headers, POOL).status in (401, 403)


def test_without_a_token_nothing_is_changed(up):
    token = json.loads(ask(up.port, "GET", "/api/csrf-token?client=a", basic(up.auth)).body)
    token = str(token.get("token"))
    for given in (
        {},
        {"Prefect-Csrf-Client": "a"},
        {"Prefect-Csrf-Token": token},
        {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "b"},
        {"Prefect-Csrf-Token": token[::-1], "Prefect-Csrf-Client": "a"},
    ):
        answer = ask(up.port, "POST", "/api/work_pools/", {**basic(up.auth), **given}, POOL)
        assert answer.status == 403
    assert ask(up.port, "GET", "/api/work_pools/evil", basic(up.auth)).status == 404


@pytest.mark.parametrize("name", ["evil.example:{}", "evil.example", "127.0.0.1", "localhost:1"])
def test_under_another_name_nobody_is_there(up, name):
    """A page can make its own name lead to 127.0.0.1, and is then of one origin with the server."""
    called = {"Host": name.format(up.port)}
    for path in ("/", "/api/health", "/api/admin/version", "/ui-settings"):
        assert ask(up.port, "GET", path, {**called, **basic(up.auth)}).status in (400, 403)
    assert ask(up.port, "GET", "/api/events/in", {**WEBSOCKET, **called}).status in (400, 403)
    assert ask(up.pages_port, "GET", "/", {"Host": name.format(up.pages_port)}).status == 403


def test_websockets_too_want_origin_and_string(up):
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    assert ask(up.port, "GET", "/api/events/in", {**WEBSOCKET, "Origin": EVIL}).status == 403
    assert ask(up.port, "GET", "/api/events/in", WEBSOCKET).status == 101
    address = f"ws://127.0.0.1:{up.port}/api/events/in"
    for token, answered in ((up.auth, True), ("a:b", False), (None, False)):
        with connect(address, subprotocols=["prefect"], proxy=None) as socket:  # type: ignore
            socket.send(json.dumps({"type": "auth", "token": token}))
            try:
                assert json.loads(socket.recv(10.0))["type"] == "auth_success" and answered
            except ConnectionClosed:
                assert not answered


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_prefects_own_page_works(up, name):
    called = {"Host": f"{name}:{up.port}"}
    page = ask(up.port, "GET", "/", {**called, "Accept": "text/html"})
    while page.status == 307:
        page = ask(up.port, "GET", "/v2/", {**called, "Accept": "text/html"})
    assert page.status == 200 and b"<html" in page.body
    told = json.loads(ask(up.port, "GET", "/ui-settings", called).body)
    assert (told["auth"], told["csrf_enabled"]) == ("BASIC", True)

    # As the page does: on localhost it calls 127.0.0.1, which is another origin to a browser.
    origin = {"Origin": f"http://{name}:{up.port}"}
    asks = {"Access-Control-Request-Method": "POST"}
    preflight = ask(up.port, "OPTIONS", "/api/work_pools/filter", {**origin, **asks})
    assert (preflight.status, preflight.allowed) == (200, origin["Origin"])
    given = {**origin, **basic(up.auth)}
    token = json.loads(ask(up.port, "GET", "/api/csrf-token?client=page", given).body)["token"]
    given |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "page"}
    pools = ask(up.port, "POST", "/api/work_pools/filter", given, {})
    assert (pools.status, pools.allowed) == (200, origin["Origin"])
    assert [pool["name"] for pool in json.loads(pools.body)] == [serving.POOL]


def test_the_string_is_for_its_owner_alone(up):
    kept = up.home / "serve" / "auth_string"
    assert mode(kept) == 0o600 and mode(kept.parent) == 0o700
    assert len(up.auth) > 40
    assert str(kept) in up.said and secret(up) not in up.said
    assert holders(up.home, secret(up)) == [kept]
    assert not [line for line in command_lines() if secret(up) in line]


def test_prefect_in_the_repositorys_folder_finds_it(up):
    """By the profile that `serve` writes, here into a folder of the test's own."""
    profiles = up.home / "profiles.toml"
    profiles.write_text("[profiles.mine]\n")
    profiles.chmod(0o644)
    own = environment(up.home, PREFECT_PROFILES_PATH=str(profiles))
    script = (
        "from pathlib import Path\nimport flows\n"
        "from stabledreamer.runtime import auth, serving\n"
        f"auth.PROFILES = Path({str(profiles)!r})\n"
        "auth.point_prefect_here(serving.look().api)\n"
    )
    try:
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=own, check=True)
        assert mode(profiles) == 0o600 and "[profiles.mine]" in profiles.read_text()
        listed = subprocess.run(
            [PROGRAMS / "prefect", "deployment", "inspect", "dream/local"],
            cwd=ROOT, env=own, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert listed.returncode == 0, listed.stdout + listed.stderr
        assert secret(up) not in listed.stdout + listed.stderr
    finally:
        profiles.unlink()


def test_the_string_is_made_once_and_again_if_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (tmp_path / "serve").mkdir()
    first = auth.auth_string()
    auth.auth_file().chmod(0o644)
    assert auth.auth_string() == first and mode(auth.auth_file()) == 0o600
    for damaged in ("", "a:b", "stabledreamer:", f"{first}\n{first}", "\0" * 60):
        auth.auth_file().write_text(damaged)
        again = auth.auth_string()
        assert again not in (first, damaged) and again.partition(":")[0] == "stabledreamer"
        assert auth.auth_string() == again and mode(auth.auth_file()) == 0o600
    assert os.listdir(tmp_path / "serve") == ["auth_string"]


def test_the_server_inside_a_command_is_as_closed(prefect):
    from prefect.settings import PREFECT_API_URL

    from stabledreamer.runtime.server import AUTH

    port = urlsplit(str(PREFECT_API_URL.value())).port
    assert port
    assert os.environ["PREFECT_API_AUTH_STRING"] == AUTH  # as Ray's workers find it
    assert ask(port, "GET", "/api/admin/version", basic(AUTH)).status == 200
    assert ask(port, "GET", "/api/admin/version").status == 401
    assert ask(port, "GET", "/api/admin/version", basic("a:b")).status == 401
    for strange in ({"Host": f"evil.example:{port}"}, {"Origin": EVIL}):
        assert ask(port, "POST", "/api/work_pools/", {**basic(AUTH), **strange}, POOL).status == 403
        assert ask(port, "GET", "/api/events/in", {**WEBSOCKET, **strange}).status == 403
    asks = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
    preflight = ask(port, "OPTIONS", "/api/work_pools/", asks)
    assert preflight.status == 403 and preflight.allowed is None


@pytest.mark.parametrize("own", [None, "me:mine"])
def test_another_server_is_not_told_our_string(tmp_path, own):
    """One that the user names; the profile that `serve` wrote is not for it."""
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(
        'active = "stabledreamer"\n[profiles.stabledreamer]\n'
        'PREFECT_API_URL = "http://127.0.0.1:1/api"\nPREFECT_API_AUTH_STRING = "ours:secret"\n'
    )
    named = {"PREFECT_API_URL": "http://127.0.0.1:2/api", "PREFECT_PROFILES_PATH": str(profiles)}
    named |= {"PREFECT_API_AUTH_STRING": own} if own else {}
    script = (
        "from stabledreamer.runtime.server import prefect_server\n"
        "with prefect_server():\n"
        "    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL\n"
        "    print(PREFECT_API_URL.value(), PREFECT_API_AUTH_STRING.value())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env=environment(tmp_path, **named), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"http://127.0.0.1:2/api {own or ''}\n"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_is_given_the_string_in_its_environment_alone(up, params, tmp_path):
    given = {"prompt": "a red bear", "params": str(params), "out": str(tmp_path / "asset")}
    options = [f"--param={name}={value}" for name, value in given.items()]
    own = environment(
        up.home,
        PREFECT_API_URL=f"http://127.0.0.1:{up.port}/api",
        PREFECT_API_AUTH_STRING=up.auth,
    )
    program = [PROGRAMS / "prefect", "deployment", "run", "dream/local", *options, "--watch"]
    known = {process.pid for process in marked(str(up.home / "serve"))}
    run, seen = subprocess.Popen(program, cwd=ROOT, env=own), set()
    while run.poll() is None:
        assert not [line for line in command_lines() if secret(up) in line]
        for process in marked(str(up.home / "serve")):
            if process.pid not in known and process.is_running():
                seen.add(process.environ().get("PREFECT_API_AUTH_STRING"))
                assert "PREFECT_SERVER_API_AUTH_STRING" not in process.environ()
        time.sleep(0.2)
    assert run.returncode == 0
    assert seen == {up.auth}
    assert holders(up.home, secret(up)) == [up.home / "serve" / "auth_string"]
    assert holders(tmp_path, secret(up)) == []


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def secret(up: Up) -> str:
    """What must not be found elsewhere."""
    return up.auth.partition(":")[2] or "no string at all"


def holders(folder: Path, text: str) -> list[Path]:
    """The files below a folder that hold a text: logs, Prefect's database, ours."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]


def command_lines() -> list[str]:
    """Of all processes, as any user can read them."""
    found = (process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))
    return [" ".join(line) for line in found if line]
