"""One sentence becomes one 3D asset.

prompt -> stage 1 -> checkpoint -> stage 2 -> checkpoint -> gaussians, turntable, preview
                                                         -> mesh -> evaluate -> report
"""

import time
from typing import Any

from prefect import Task, flow

from stabledreamer.runtime import stopping
from stabledreamer.runtime.artifacts import logger, publish_asset
from stabledreamer.runtime.log_lines import key_values
from stabledreamer.runtime.threads import settle_threads
from stabledreamer_core.settings.config import StageName
from tasks import run_record
from tasks.asset_folder import clear_work, lock_asset
from tasks.checks import prepare
from tasks.job import Job
from tasks.keys import STEPS, step_key
from tasks.manifest import Manifest
from tasks.steps import (
    checkpoint,
    evaluate,
    gaussians,
    mesh,
    optimize,
    preview,
    report,
    turntable,
)

Steps = dict[str, dict[str, Any]]  # name -> {"key", "files", "facts"}, in the order they were done


@flow(name="dream", flow_run_name="{prompt}-s{seed}", validate_parameters=True)
def dream(
    prompt: str,
    seed: int = 0,
    params: str | None = None,
    overrides: list[str] | None = None,
    quick: bool = False,
    out: str | None = None,
    bars: bool = True,
) -> dict[str, Any]:
    """Make an asset, or what is missing of it.

    Args:
        prompt: what to make.
        seed: a prompt and seed give the same bits every time on a CPU.
        params: a file of settings laid over params.yaml.
        overrides: settings as "stage1.iterations=300", laid over that.
        quick: the fast preset.
        out: the asset folder; by default outputs/<prompt>-s<seed>.
        bars: whether to draw progress bars.

    Returns:
        The record in run.json.

    Raises:
        UserError: something the user can put right, found before any time is spent.
    """
    # 1. What could go wrong is found now.
    job = prepare(prompt, seed, params, overrides, quick, out, bars)
    record = run_record.read(job.out)
    if record and not run_record.unfinished(job.out, record, job.config, job.prompt, job.seed):
        publish_asset(job.out, record)
        return record

    settle_threads()
    steps: Steps = {}
    with lock_asset(job.out, job.prompt, job.seed):
        run_record.remove(job.out)  # it is there only while it is true

        # 2. Geometry, from the pixel-space prior.
        take("stage1", job, steps, optimize, "stage1")
        take("checkpoint1", job, steps, checkpoint, "stage1")
        clear_work(job.out, "stage1")

        # 3. Colour and detail, from the latent-space prior.
        take("stage2", job, steps, optimize, "stage2")
        take("checkpoint2", job, steps, checkpoint, "stage2")
        clear_work(job.out, "stage2")

        # 4. The asset in the forms people use.
        take("gaussians", job, steps, gaussians)
        take("turntable", job, steps, turntable)
        take("preview", job, steps, preview)
        take("mesh", job, steps, mesh)

        # 5. How good it is, and the page that shows it all.
        take("evaluate", job, steps, evaluate)
        stopping.check()
        record = report(job, steps)
    publish_asset(job.out, record)
    return record


def take(
    name: str, job: Job, steps: Steps, task: Task[..., Manifest], *arguments: StageName
) -> None:
    """Take one step, unless its result is known and its files are still what they were."""
    stopping.check()
    files = {path: sha256 for step in steps.values() for path, sha256 in step["files"].items()}
    key = step_key(name, job.config, job.prompt, job.seed, files)
    settings = {section: getattr(job.config, section) for section in STEPS[name].settings}
    logger().info("%s begins: key=%s %s", name, key[:16], key_values(settings))
    began = time.monotonic()
    task = task.with_options(task_run_name=name)
    state: Any = task(job, *arguments, key=key, return_state=True)
    manifest: Manifest = state.result()
    kept = state.name == "Cached"
    if kept and not run_record.intact(job.out, manifest["files"]):
        kept = False
        manifest = task.with_options(refresh_cache=True)(job, *arguments, key=key)
    steps[name] = {"key": key, **manifest}
    how = "kept" if kept else f"{time.monotonic() - began:.1f} s"
    if job.bars:
        print(f"  {name:12s} {how}", flush=True)
    logger().info("%s: %s %s", name, how, key_values(manifest["facts"]))
