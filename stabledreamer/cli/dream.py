"""stabledreamer dream: one prompt, one asset."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from stabledreamer.cli.options import RunOptions, Whole
from stabledreamer.cli.program import command
from stabledreamer_core.errors import UserError

if TYPE_CHECKING:
    from tasks.job import Job

EXAMPLES = """\
examples:
  stabledreamer dream "a red bear wearing a top hat"
  stabledreamer dream "a blue car" --seed 3 --quick
  stabledreamer dream "a red bear" --live           # in a browser, while it grows
  stabledreamer dream "a blue car" --set mesh.height=0.3
  stabledreamer dream "a glass of lemonade" --preset open --translucent
  stabledreamer dream "a dslr photo of a corgi wearing a top hat" --preset open

All that --set can set: stabledreamer settings, or stabledreamer settings mesh
"""
app = App(name="dream", usage="Usage: stabledreamer dream [OPTIONS] PROMPT", help_epilogue=EXAMPLES)


@app.default
def dream(
    *prompt: str,
    seed: Whole = 0,
    out: Path | None = None,
    live: bool = False,
    port: Whole | None = None,
    options: RunOptions | None = None,
) -> int:
    """Make a 3D asset from a sentence.

    The same command again continues, or makes what is missing.

    Args:
        prompt: what to make, such as "a red bear".
        seed: default 0.
        out: the asset's folder, default outputs/<prompt>-s<seed>.
        live: show it in a browser while it is made, on this machine alone.
        port: where, default any free one.
    """
    options = options or RunOptions()
    options.show_log()
    if port is not None and not live:
        raise UserError("--port says where --live shows the run; give --live too")
    began = time.monotonic()
    from tasks import ledger, run_record
    from tasks.checks import prepare
    from tasks.job import Request

    job = prepare(
        Request(
            " ".join(prompt),
            seed,
            params=str(options.params) if options.params else None,
            preset=options.preset,
            overrides=options.settings,
            quick=options.quick,
            out=str(out) if out else None,
        )
    )
    lacks = ledger.lacking(job)
    if not lacks:
        print(f"already finished: {job.out}")
        if job.config.debug.every and not (job.out / "debug").exists():
            print("a run is recorded only while it goes on; give another --out to record one")
        return 0
    if run_record.read(job.out):
        print(f"{job.out}: to be made again: {', '.join(lacks)}")
    from stabledreamer.runtime.server import prefect_server

    with _shown(job, port) if live else nullcontext(), prefect_server():
        from flows.dream import make_asset

        make_asset(job)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"finished in {minutes} min {seconds} s: {job.out}")
    print(f"look at it: {command('view', job.out)}")
    return 0


@contextmanager
def _shown(job: Job, port: int | None) -> Iterator[None]:
    """Serve the page of a run while it goes on, and say where."""
    from stabledreamer.runtime.live import how_to_reach, live_page

    with live_page(job.prompt, job.seed, job.out, port) as url:
        print(f"watch it: {how_to_reach(url)}", flush=True)
        yield
