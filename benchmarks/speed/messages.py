"""What a suite in batches costs Prefect's server: requests, messages and rows, counted.

    python -m benchmarks.speed.messages prompts/toybox.yaml --batch 6 --assets 6 12 [OPTION ...]

Runs the command for each number of assets against a server of its own, where every request and
message is counted as it comes in. The difference of two runs is what assets and their batches cost;
the rest is the suite's own. docs/scale.md says what the figures mean.
"""

import argparse
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from stabledreamer.runtime import prefect_home as prefect_home  # before Prefect

IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def counting(app: Callable[..., Any], counts: Counter[str]) -> Callable[..., Any]:
    """The ASGI app, with what clients send counted by method and path."""

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = IDENTIFIER.sub("*", scope.get("path", ""))
        if scope["type"] == "http":
            counts[f"{scope['method']} {path}"] += 1

        async def received() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                counts[f"message {path}"] += 1
            return message

        await app(scope, received, send)

    return answer


@contextmanager
def counted_server(home: Path) -> Iterator[tuple[str, Counter[str]]]:
    """Prefect's server with a database of its own in `home`; yields its API and the counts."""
    os.environ["PREFECT_HOME"] = str(home)
    os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{home}/prefect.db"
    import uvicorn
    from prefect.server.api.server import create_app

    counts: Counter[str] = Counter()
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(counting(create_app(), counts), log_level="critical"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/api", counts
    server.should_exit = True
    thread.join(timeout=10.0)


def count_suite(
    api: str,
    counts: Counter[str],
    prompts: list[str],
    assets: int,
    folder: Path,
    options: list[str],
) -> Counter[str]:
    """What a suite of so many assets sent."""
    folder.mkdir(parents=True)
    seeds = [str(seed) for seed in range(-(-assets // len(prompts)))]
    if assets % len(prompts) and len(seeds) > 1:
        raise SystemExit(f"--assets {assets}: at most, or a multiple of, {len(prompts)} prompts")
    file = folder / "prompts.yaml"
    file.write_text(yaml.safe_dump({"prompts": prompts[:assets]}), encoding="utf-8")
    command = [sys.executable, "-m", "stabledreamer", "suite", str(file), "--seeds", *seeds]
    counts.clear()
    subprocess.run(
        [*command, "--out", str(folder / "suite"), *options],
        env={**os.environ, "PREFECT_API_URL": api},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    time.sleep(2.0)  # for what is under way
    return Counter(counts)


def database() -> Counter[str]:
    """Rows and bytes in the server's database."""
    with sqlite3.connect(Path(os.environ["PREFECT_HOME"]) / "prefect.db") as connection:
        named = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        rows = [
            connection.execute(f'select count(*) from "{name}"').fetchone() for (name,) in named
        ]
        size = [
            connection.execute(f"pragma {what}").fetchone() for what in ("page_count", "page_size")
        ]
    kept = {"rows in the database": sum(count for (count,) in rows)}
    return Counter(kept | {"bytes of the database": size[0][0] * size[1][0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, help="YAML file of prompts")
    parser.add_argument("--assets", type=int, nargs=2, default=[16, 48])
    parser.add_argument("--batch", type=int, default=16)
    arguments, more_options = parser.parse_known_args()  # the rest is the command's
    prompts = yaml.safe_load(arguments.file.read_text(encoding="utf-8"))["prompts"]
    options = ["--batch", str(arguments.batch), *more_options]
    sent: list[Counter[str]] = []
    kept: list[Counter[str]] = []
    with tempfile.TemporaryDirectory() as scratch, counted_server(Path(scratch)) as (api, counts):
        for assets in arguments.assets:
            before, folder = database(), Path(scratch) / str(assets)
            sent.append(count_suite(api, counts, prompts, assets, folder, options))
            kept.append(database() - before)
    print("| sent to the server | an asset | a suite |\n| --- | --- | --- |")
    for few, many in (sent, kept):
        for what in sorted(many, key=lambda what, few=few, many=many: few[what] - many[what]):
            print(_row(what, few[what], many[what], arguments.assets))
    print(_row("**all messages**", *(counter.total() for counter in sent), arguments.assets))


def _row(what: str, few: int, many: int, assets: list[int]) -> str:
    each = (many - few) / (assets[1] - assets[0])
    return f"| {what} | {each:.2f} | {few - assets[0] * each:.0f} |"


if __name__ == "__main__":
    main()
