"""A folder's files over HTTP, as `python -m http.server` but under this machine's own names alone.

Else any web page could read them, by making its own name lead to 127.0.0.1 (DNS rebinding).
"""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from stabledreamer.runtime.server_app import own_names


class OwnNames(SimpleHTTPRequestHandler):
    """Refuses what was sent under another name."""

    def parse_request(self) -> bool:
        """As for the base class; False where an error was answered."""
        if not super().parse_request():
            return False
        called = [name.lower() for name in self.headers.get_all("Host", [])]
        if len(called) == 1 and called[0] in own_names(self.connection.getsockname()[1]):
            return True
        self.send_error(403, "unknown host")
        return False


if __name__ == "__main__":
    folder, port = sys.argv[1:]
    handler = partial(OwnNames, directory=folder)
    ThreadingHTTPServer(("127.0.0.1", int(port)), handler).serve_forever()
