"""stabledreamer suite: many prompts, one folder each, and a summary."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from stabledreamer.cli.options import RunOptions, Whole
from stabledreamer.cli.program import command

EXAMPLES = """\
examples:
  stabledreamer suite prompts/toybox.yaml --out outputs/toybox
  stabledreamer suite prompts/toybox.yaml --seeds 0 1 2 --quick
  stabledreamer suite prompts/gallery.yaml --preset open
  stabledreamer suite prompts/toybox.yaml --batch 16                          # one GPU
  stabledreamer suite prompts/toybox.yaml --batch 16 --runner ray --workers 8 # several GPUs

The file: a list of prompts, or `prompts:` and `seeds:`.
"""


app = App(name="suite", help_epilogue=EXAMPLES)


@app.default
def suite(
    file: Path,
    /,
    *,
    out: Path | None = None,
    seeds: Annotated[list[int] | None, Parameter(consume_multiple=True)] = None,
    workers: Whole = 1,
    batch: Whole = 1,
    runner: Literal["threads", "ray"] = "threads",
    ray_address: str | None = None,
    options: RunOptions | None = None,
) -> int:
    """Make the assets of a file of prompts.

    One that fails does not stop the others; the same command again makes what is missing.

    Args:
        file: YAML file of prompts.
        out: the suite's folder, default outputs/<file's name>.
        seeds: instead of the file's.
        workers: assets at once.
        batch: objects optimised at once, on a GPU.
        runner: where assets are made.
        ray_address: HOST:PORT of a Ray cluster that is there.
    """
    options = options or RunOptions()
    options.show_log()
    from flows.prompts_file import read_prompts
    from stabledreamer.runtime.runners import check_runner
    from stabledreamer.runtime.server import prefect_server
    from stabledreamer.runtime.settings import load_config
    from tasks.checks import check_models

    # Mistakes are told before a server starts.
    read_prompts(file)
    check_runner(runner, workers, batch, ray_address)
    check_models(load_config(options.params, list(options.settings), options.quick, options.preset))
    out = out or Path("outputs") / file.stem
    with prefect_server():
        from flows.suite import suite as make_suite

        summary = make_suite(
            str(file),
            str(out),
            seeds=seeds,
            params=str(options.params) if options.params else None,
            overrides=list(options.settings),
            quick=options.quick,
            preset=options.preset,
            workers=workers,
            batch=batch,
            runner=runner,
            ray_address=ray_address,
        )
    for failure in summary["failures"]:
        print(f"failed: {failure['prompt']!r} seed {failure['seed']}: {failure['error']}")
    print(f"{len(summary['assets'])} assets, {len(summary['failures'])} failures: {out}")
    if summary["assets"]:
        print(f"all on one picture: {out / 'contact_sheet.png'}")
        print(f"look at them: {command('view', out)}")
    return 1 if summary["failures"] else 0
