"""Prefect's server and the assets' pages, which answer this machine's own pages and programs alone.

Prefect can ask for a string, name the origins that may call it and want CSRF tokens, but it answers
under whatever name it is called: a web page whose name is made to lead to 127.0.0.1 (DNS
rebinding) passes for the server's own. So `guarded` looks at that name first, which
`prefect server start` leaves no room for; uvicorn, which that starts as well, is given `create_app`
instead.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from stabledreamer.runtime.guard import App, guarded, own_origins
from stabledreamer.runtime.pages import PAGES, listen, serve_pages

# A call that meets a connection just closed is tried again after 2 s; Prefect's clients close
# their own after 25.
KEEP_ALIVE_S = 60


def server_settings(port: int, auth: str) -> dict[str, str]:
    """Prefect's own part of it: environment variables for the server."""
    return {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(own_origins(port)),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }


def create_app() -> App:
    """For uvicorn: the server that `server_settings` describe, and the pages that `PAGES` names."""
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    url, _, folder = os.environ[PAGES].partition(" ")
    serve_pages(Path(folder), listen(urlsplit(url).port or 0))
    return guarded(create_app(final=True), get_current_settings().server.api.port)
