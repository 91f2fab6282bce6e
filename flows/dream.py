"""One sentence becomes one 3D asset.

prompt -> stage 1 -> checkpoint -> stage 2 -> checkpoint -> gaussians, turntable, preview
                                                         -> mesh -> export, evaluate -> report
"""

from functools import partial
from typing import Any

from prefect import Flow, flow

from stabledreamer.runtime import stopping
from stabledreamer.runtime.artifacts import publish_asset
from stabledreamer.runtime.threads import settle_threads
from tasks import ledger, run_record
from tasks.asset_folder import clear_work, lock_asset
from tasks.checks import prepare
from tasks.job import Job, Request
from tasks.run_record import Record
from tasks.step import Steps, take
from tasks.steps import (
    checkpoint,
    evaluate,
    export,
    gaussians,
    mesh,
    optimize,
    preview,
    report,
    turntable,
)


def make(job: Job, told: bool = True) -> Record:
    """Make an asset, or what is missing of it; returns the record in run.json.

    Args:
        told: whether Prefect hears of each step (tasks/step.py).
    """
    steps: Steps = {}
    step = partial(take, job, steps, told)
    settle_threads()
    with lock_asset(job.out, job.prompt, job.seed):
        # 1. run.json is there only while it is true.
        ledger.reopen(job.out)

        # 2. Geometry, from the pixel-space prior.
        step("stage1", optimize)
        step("checkpoint1", checkpoint)
        clear_work(job.out, "stage1")

        # 3. Colour and detail, from the latent-space prior.
        step("stage2", optimize)
        step("checkpoint2", checkpoint)
        clear_work(job.out, "stage2")

        # 4. The asset in the forms people use.
        step("gaussians", gaussians)
        step("turntable", turntable)
        step("preview", preview)
        step("mesh", mesh)
        step("export", export)

        # 5. How good it is, and the page that shows it all.
        step("evaluate", evaluate)
        stopping.check()
        record: Record = report(job, steps) if told else report.fn(job, steps)
    if told:
        publish_asset(job.out, record)
    return record


def finished(job: Job) -> Record | None:
    """The record of an asset that lacks nothing."""
    return None if ledger.lacking(job) else run_record.read(job.out)


@flow(name="dream", flow_run_name="{prompt}-s{seed}")
def dream(
    prompt: str,
    seed: int = 0,
    params: str | None = None,
    overrides: list[str] | None = None,
    quick: bool = False,
    out: str | None = None,
    bars: bool = True,
    preset: str | None = None,
) -> dict[str, Any]:
    """Make an asset, or what is missing of it: Prefect's door, with the fields of tasks/job.py.

    Returns:
        The record in run.json.

    Raises:
        UserError: something the user can put right, found before any time is spent.
    """
    overrides_ = tuple(overrides or ())
    job = prepare(Request(prompt, seed, params, overrides_, quick, out, bars, preset))
    if record := finished(job):
        publish_asset(job.out, record)
        return record
    return make(job)


# The same for who has checked the request already: the command line, and a suite.
make_asset: Flow[[Job], Record] = Flow(
    make, name="dream", flow_run_name="{job.prompt}-s{job.seed}", validate_parameters=False
)
