"""Prefect's server, which answers this machine's own pages and programs alone.

Prefect can ask for a string, name the origins that may call it and want CSRF tokens, but it answers
under whatever name it is called: a web page whose name is made to lead to 127.0.0.1 (DNS
rebinding) passes for the server's own. So `guarded` looks at that name first. As a program this
module is `prefect server start` with that before it.
"""

from collections.abc import Callable, Mapping
from typing import Any

App = Callable[..., Any]
# A call that meets a connection just closed is tried again after 2 s; Prefect's clients close
# their own after 25.
KEEP_ALIVE_S = 60


def own_names(port: int) -> list[str]:
    """What a server at this port is called on this machine."""
    return [f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")]


def own_origins(port: int) -> list[str]:
    """Where the pages of a server at this port come from."""
    return [f"http://{name}" for name in own_names(port)]


def server_settings(port: int, auth: str) -> Mapping[str, str]:
    """Prefect's own part of it: environment variables for the server."""
    return {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(own_origins(port)),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    }


def guarded(app: App, port: int) -> App:
    """The ASGI app, refusing what was sent under another name or by another's page.

    Around Prefect's app, not a middleware in it: Prefect's services call that one under a name of
    their own.
    """
    names = {name.encode() for name in own_names(port)}
    origins = {origin.encode() for origin in own_origins(port)}

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = scope.get("headers", [])
        called = [value.lower() for name, value in headers if name == b"host"]
        sent_by = {value.lower() for name, value in headers if name == b"origin"}
        known = len(called) == 1 and called[0] in names and sent_by <= origins
        if known or scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
        else:
            plain = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": plain})
            await send({"type": "http.response.body", "body": b"unknown host or origin\n"})

    return answer


def main() -> None:
    """Serve until told to end; what and where is in Prefect's settings."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    uvicorn.run(
        guarded(create_app(final=True), server.api.port),
        host=server.api.host,
        port=server.api.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
