"""stabledreamer bench: benchmarks that a prior of your own can be put through."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from stabledreamer.cli.options import RunOptions, Whole
from stabledreamer.cli.program import command
from stabledreamer_core.errors import UserError

if TYPE_CHECKING:
    from toybox.catalogue import Toy

EXAMPLES = """\
examples:
  stabledreamer bench janus --validate
  stabledreamer bench janus --prior priors/toybox-if --prompts 14 --quick
  stabledreamer bench janus --prior priors/toybox-if --seeds 0 1 --batch 43
  stabledreamer bench janus --prior my-if --stage2-prior my-sd
"""
app = App(name="bench", help_epilogue=EXAMPLES, help="Measure a prior against known truth.")


@app.command
def janus(
    *,
    prior: str | None = None,
    stage2_prior: str | None = None,
    prompts: Whole | None = None,
    part: Literal["tune", "test"] | None = None,
    seeds: Annotated[list[int] | None, Parameter(consume_multiple=True)] = None,
    out: Path | None = None,
    workers: Whole = 1,
    batch: Whole = 1,
    add_to_leaderboard: str | None = None,
    validate: bool = False,
    options: RunOptions | None = None,
) -> int:
    """Count the second faces that a prior makes, on toys that have one.

    One asset that fails does not stop the others; the same command again makes what is missing.

    Args:
        prior: stage 1's, a folder or a hub id.
        stage2_prior: stage 2's; without one that stage is left out.
        prompts: how many toys, of as many categories as can be; default all.
        part: only the toys that settings are searched on, or that claims are published on.
        seeds: default 0.
        out: where to, default outputs/janus-<prior>.
        workers: assets at once.
        batch: objects optimised at once, on a GPU.
        add_to_leaderboard: put the result into the repository under this name.
        validate: instead, how often the measure is right about toys broken on purpose.
    """
    options = options or RunOptions()
    from toybox.captions import caption
    from toybox.janus.toys import janus_toys

    toys = janus_toys(part)
    if prompts is not None and not 1 <= prompts <= len(toys):
        raise UserError(f"--prompts is {prompts}; there are 1 to {len(toys)} toys")
    toys = toys[:prompts]
    if validate:
        return _validate(toys, options)
    if prior is None:
        raise UserError("say which prior makes the toys: --prior FOLDER (or --validate)")
    options.show_log()
    from flows.janus import janus_overrides
    from stabledreamer.runtime.server import prefect_server
    from stabledreamer.runtime.settings import load_config
    from tasks.checks import check_models
    from tasks.job import Request
    from toybox.janus import leaderboard

    # Mistakes are told before a server starts.
    if add_to_leaderboard is not None:
        leaderboard.check_name(add_to_leaderboard)
    overrides = (*janus_overrides(prior, stage2_prior), *options.settings)
    params = str(options.params) if options.params else None
    request = Request("", 0, params, overrides, options.quick, preset=options.preset)
    check_models(load_config(options.params, list(overrides), options.quick, options.preset))
    out = out or Path("outputs") / f"janus-{Path(prior).name}"
    with prefect_server():
        from flows.janus import janus as make

        names = [caption(toy) for toy in toys]
        summary = make(request, names, seeds or [0], out, workers=workers, batch=batch)
    for failure in summary["failed"]:
        print(f"failed: {failure['prompt']!r} seed {failure['seed']}: {failure['error']}")
    print("\n".join(leaderboard.figures([summary])))
    print(f"every asset: {out / 'results.jsonl'}; look at them: {command('view', out / 'assets')}")
    if add_to_leaderboard is not None:
        files = leaderboard.add(add_to_leaderboard, out)
        print(f"to be committed: git add {shlex.join(map(str, files))}")
    return 1 if summary["failed"] else 0


def _validate(toys: list["Toy"], options: RunOptions) -> int:
    from tqdm import tqdm

    from stabledreamer.runtime.settings import load_config
    from toybox.janus.validation import ENOUGH, agreement, report

    config = load_config(options.params, list(options.settings), options.quick, options.preset)
    lines, enough = report(
        agreement(tqdm(toys, unit="toy", leave=False, disable=None), config.evaluate)
    )
    print("\n".join(lines))
    print(f"{len(toys)} toys; each share is {'at least' if enough else 'NOT always'} {ENOUGH}")
    return 0 if enough else 1
