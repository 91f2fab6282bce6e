"""stabledreamer view: look at a finished asset in a browser."""

from pathlib import Path

from cyclopts import App

from stabledreamer.cli.options import Whole
from stabledreamer.runtime.pages import pages_server
from stabledreamer_core.errors import UserError

app = App(name="view", help_epilogue="example:\n  stabledreamer view outputs/a-blue-car-s3")


@app.default
def view(dir: Path, /, *, port: Whole = 0) -> int:
    """Look at a finished asset in a browser.

    Serves its report on this machine alone, until Ctrl-C.

    Args:
        dir: the asset's folder.
        port: default any free one.
    """
    if not (dir / "report.html").is_file():
        raise UserError(f"{dir} holds no report.html; give the folder of a finished asset")
    try:
        server = pages_server(dir, port)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on port {port}: {error}; choose another") from None
    with server:
        print(f"http://127.0.0.1:{server.server_port}/report.html  (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
