"""Whom a server on this machine answers: its own pages and programs, under its own names.

Else any web page could read what it serves, by making its own name lead to 127.0.0.1 (DNS
rebinding).
"""

from collections.abc import Callable
from typing import Any

App = Callable[..., Any]


def own_names(port: int) -> list[str]:
    """What a server at this port is called on this machine."""
    return [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]


def guarded(app: App, port: int) -> App:
    """The ASGI app, refusing what was sent under another name or by another's page.

    Around Prefect's app, not a middleware in it: Prefect's services call that one under a name of
    their own.
    """
    from starlette.datastructures import Headers
    from starlette.responses import PlainTextResponse

    names, origins = set(own_names(port)), set(own_origins(port))
    refuse = PlainTextResponse("unknown host or origin\n", 403)

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = Headers(scope=scope) if "headers" in scope else Headers()
        called = [name.lower() for name in headers.getlist("host")]
        sent_by = {origin.lower() for origin in headers.getlist("origin")}
        known = len(called) == 1 and called[0] in names and sent_by <= origins
        await (app if known or scope["type"] == "lifespan" else refuse)(scope, receive, send)

    return answer


def own_origins(port: int) -> list[str]:
    """Where the pages of a server at this port come from."""
    return [f"http://{name}" for name in own_names(port)]
