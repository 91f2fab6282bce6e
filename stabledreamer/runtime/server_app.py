"""Prefect's server and the assets' pages, which answer this machine's own pages and programs alone.

Prefect can ask for a string, name the origins that may call it and want CSRF tokens, but it answers
under whatever name it is called: a web page whose name is made to lead to 127.0.0.1 (DNS
rebinding) passes for the server's own. So `guarded` looks at that name first, which
`prefect server start` leaves no room for; uvicorn, which that starts as well, is given `create_app`
instead.
"""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from stabledreamer.runtime.pages import PAGES, own_names, pages_server

App = Callable[..., Any]
# A call that meets a connection just closed is tried again after 2 s; Prefect's clients close
# their own after 25.
KEEP_ALIVE_S = 60


def server_settings(port: int, auth: str) -> dict[str, str]:
    """Prefect's own part of it: environment variables for the server."""
    return {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(_own_origins(port)),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }


def create_app() -> App:
    """For uvicorn: the server that `server_settings` describe, and the pages that `PAGES` names."""
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    url, _, folder = os.environ[PAGES].partition(" ")
    pages = pages_server(Path(folder), urlsplit(url).port or 0)
    Thread(target=pages.serve_forever, daemon=True).start()
    return guarded(create_app(final=True), get_current_settings().server.api.port)


def guarded(app: App, port: int) -> App:
    """The ASGI app, refusing what was sent under another name or by another's page.

    Around Prefect's app, not a middleware in it: Prefect's services call that one under a name of
    their own.
    """
    from starlette.datastructures import Headers
    from starlette.responses import PlainTextResponse

    names, origins = set(own_names(port)), set(_own_origins(port))
    refuse = PlainTextResponse("unknown host or origin\n", 403)

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = Headers(scope=scope) if "headers" in scope else Headers()
        called = [name.lower() for name in headers.getlist("host")]
        sent_by = {origin.lower() for origin in headers.getlist("origin")}
        known = len(called) == 1 and called[0] in names and sent_by <= origins
        await (app if known or scope["type"] == "lifespan" else refuse)(scope, receive, send)

    return answer


def _own_origins(port: int) -> list[str]:
    """Where the pages of a server at this port come from."""
    return [f"http://{name}" for name in own_names(port)]
