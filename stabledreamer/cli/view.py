"""stabledreamer view: look at a finished asset in a browser."""

import argparse
import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stabledreamer_core.errors import UserError


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "view",
        help="look at a finished asset in a browser",
        description="Serve an asset's report on this machine alone, until Ctrl-C.",
        epilog="example:\n  stabledreamer view outputs/a-blue-car-s3",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="the asset's folder")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.set_defaults(run=run)


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    if not (args.dir / "report.html").is_file():
        raise UserError(f"{args.dir} holds no report.html; give the folder of a finished asset")
    handler = functools.partial(QuietHandler, directory=str(args.dir))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", args.port), handler)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on port {args.port}: {error}; choose another") from None
    with server:
        print(f"http://127.0.0.1:{server.server_port}/report.html  (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
