"""stabledreamer view: look at finished assets in a browser."""

from pathlib import Path

from cyclopts import App

from stabledreamer.cli.options import Whole
from stabledreamer.runtime.gallery import cards_below
from stabledreamer.runtime.pages import listen, serve_pages
from stabledreamer_core.errors import UserError

EXAMPLES = """\
examples:
  stabledreamer view outputs/a-blue-car-s3
  stabledreamer view outputs                # all assets, with search and order
"""

app = App(name="view", help_epilogue=EXAMPLES)


@app.default
def view(dir: Path, /, *, port: Whole = 0) -> int:
    """Look at assets in a browser.

    Serves an asset's report, or the gallery of a folder of assets, on this machine alone, until
    Ctrl-C.

    Args:
        dir: an asset's folder, a suite's, or outputs.
        port: default any free one.
    """
    one = (dir / "report.html").is_file()
    if not one:
        _check_holds_assets(dir)
    try:
        socket = listen(port)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on port {port}: {error}; choose another") from None
    with socket:
        url = f"http://127.0.0.1:{socket.getsockname()[1]}/{'report.html' if one else ''}"
        print(f"{url}  (Ctrl-C ends)", flush=True)
        try:
            serve_pages(dir, socket).join()
        except KeyboardInterrupt:
            print()
    return 0


def _check_holds_assets(dir: Path) -> None:
    """Tell in one line what there is instead; an empty folder is a gallery to be."""
    if not dir.is_dir():
        raise UserError(f"{dir} is no folder; give an asset's, a suite's, or outputs")
    try:
        empty = not any(dir.iterdir())
    except OSError as error:
        raise UserError(f"{dir} cannot be read: {error.strerror}") from None
    if not empty and not any(True for _ in cards_below(dir)):
        raise UserError(f"{dir} holds no asset; give an asset's folder, a suite's, or outputs")
