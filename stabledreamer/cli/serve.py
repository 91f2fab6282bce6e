"""stabledreamer serve, stabledreamer stop: Prefect's server and worker on this machine."""

import shlex
import sys
import time
from pathlib import Path

from cyclopts import App

from stabledreamer.cli.options import Whole
from stabledreamer.cli.program import command
from stabledreamer_core.errors import UserError

EXAMPLES = """\
examples:
  stabledreamer serve
  .venv/bin/prefect deployment run 'dream/local' -p prompt="a red bear" --watch
  stabledreamer stop
"""
app = App(name="serve", help_epilogue=EXAMPLES)
stop_app = App(name="stop")


@app.default
def serve(*, port: Whole | None = None, limit: Whole = 1, stop: bool = False) -> int:
    """Start Prefect's server and a worker on this machine.

    On 127.0.0.1; deploys what prefect.yaml names, and returns once all of it works. Again: says
    that it is up.

    Args:
        port: default 4200.
        limit: runs at once, default 1.
        stop: the same as `stabledreamer stop`.
    """
    if stop:
        return stop_all()
    if port is not None and not 1024 <= port < 2**16:
        raise UserError(f"--port is {port}; it must be from 1024 to 65535")
    if limit < 1:
        raise UserError(f"--limit is {limit}; it must be at least 1")
    from stabledreamer.runtime.auth import auth_file, point_prefect_here
    from stabledreamer.runtime.serving import bring_up

    began = time.monotonic()
    served, already = bring_up(port, limit)
    point_prefect_here(served.api)
    how = "already up" if already else f"up after {time.monotonic() - began:.0f} s"
    programs = Path(sys.executable).parent
    prefect, asked = (shlex.quote(str(path)) for path in (programs / "prefect", auth_file()))
    print(f"""\
{how}: {served.page} (Prefect), {served.pages} (assets)
Prefect's page asks for the line in {asked}
{prefect} deployment run 'dream/local' -p prompt="a red bear" --watch
{command("stop")}
elsewhere than in the repository's folder, first:
export PREFECT_API_URL={served.api}
export PREFECT_API_AUTH_STRING="$(cat {asked})\"""")
    return 0


@stop_app.default
def stop_all() -> int:
    """End what `serve` started.

    Server, worker and runs. A run that is cut short goes on where it was when it is started again.
    """
    from stabledreamer.runtime.serving import bring_down

    print("stopped" if bring_down() else "nothing is up")
    return 0
