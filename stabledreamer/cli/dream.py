"""stabledreamer dream: one prompt, one asset."""

import time
from pathlib import Path

from cyclopts import App

from stabledreamer.cli.options import RunOptions, Whole
from stabledreamer.cli.program import command

EXAMPLES = """\
examples:
  stabledreamer dream "a red bear wearing a top hat"
  stabledreamer dream "a blue car" --seed 3 --quick
  stabledreamer dream "a blue car" --set mesh.texture=true
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
    options: RunOptions | None = None,
) -> int:
    """Make a 3D asset from a sentence.

    The same command again continues, or makes what is missing.

    Args:
        prompt: what to make, such as "a red bear".
        seed: default 0.
        out: the asset's folder, default outputs/<prompt>-s<seed>.
    """
    options = options or RunOptions()
    options.show_log()
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

    with prefect_server():
        from flows.dream import make_asset

        make_asset(job)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"finished in {minutes} min {seconds} s: {job.out}")
    print(f"look at it: {command('view', job.out)}")
    return 0
