"""Many prompts, the same flow for each, a summary, and what got worse since last time."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

from flows import history
from flows.asset_folder import slug
from flows.contact_sheet import write_contact_sheet
from flows.dream import dream
from flows.prompts_file import read_prompts
from flows.suite_pages import publish_comparison, publish_suite
from stabledreamer_core.files import atomic_write

Outcome = dict[str, Any]


@task(name="asset", task_run_name="{prompt}-s{seed}")
def asset(prompt: str, seed: int, out: str, settings: dict[str, Any]) -> Outcome:
    """One asset of a suite; a failure is an outcome, so that it does not stop the others."""
    outcome: Outcome = {"prompt": prompt, "seed": seed, "folder": Path(out).name}
    try:
        record = dream(prompt, seed, out=out, **settings)
    except Exception as error:
        return {**outcome, "error": " ".join(str(error).split()) or type(error).__name__}
    kept = {key: record[key] for key in ("stages", "metrics", "config_hash")}
    return {**outcome, **kept}


THREADS: Any = ThreadPoolTaskRunner(max_workers=64)


@flow(name="suite", flow_run_name="{out}", task_runner=THREADS)
def suite(
    file: str,
    out: str,
    seeds: list[int] | None = None,
    params: str | None = None,
    overrides: list[str] | None = None,
    quick: bool = False,
    workers: int = 1,
    bars: bool = True,
) -> dict[str, Any]:
    """Make an asset for each of a file's prompts and seeds; returns what summary.json holds.

    Args:
        file: prompts (prompts_file.py).
        out: folder of the asset folders.
        seeds: instead of the file's.
        params, overrides, quick: as for flows/dream.py.
        workers: assets made at once.
        bars: whether to draw progress bars, of one asset at a time.

    Raises:
        UserError: the file cannot be read.
    """
    # 1. What to make.
    prompts, own_seeds = read_prompts(Path(file))
    wanted = [(prompt, seed) for prompt in prompts for seed in seeds or own_seeds]
    settings = {"params": params, "overrides": overrides, "quick": quick}
    settings["bars"] = bars and workers == 1

    # 2. Make it.
    outcomes = _make(wanted, Path(out), settings, workers)

    # 3. Sum it up.
    summary = summarize(outcomes)
    with atomic_write(Path(out) / "summary.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    write_contact_sheet(Path(out), summary["assets"])
    publish_suite(Path(out), summary)

    # 4. What got worse?
    now = history.entry(summary)
    before = history.append(Path(out), now)
    if before:
        publish_comparison(Path(out), before, now)
    return summary


def _make(
    wanted: list[tuple[str, int]], out: Path, settings: dict[str, Any], workers: int
) -> list[Outcome]:
    """Outcomes in the order of `wanted`; at most `workers` assets are in the making at once."""
    outcomes: list[Outcome] = []
    for start in range(0, len(wanted), workers):
        batch = [
            (prompt, seed, str(out / f"{slug(prompt)}-s{seed}"), settings)
            for prompt, seed in wanted[start : start + workers]
        ]
        if workers == 1:
            print(f"[{start + 1}/{len(wanted)}] {batch[0][0]} (seed {batch[0][1]})", flush=True)
            outcomes.append(asset(*batch[0]))
        else:
            outcomes.extend(future.result() for future in [asset.submit(*one) for one in batch])
    return outcomes


def summarize(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Assets, failures, and of each metric the mean, spread, least and most over the assets."""
    outcomes = list(outcomes)
    assets = [outcome for outcome in outcomes if "error" not in outcome]
    values: dict[str, list[float]] = {}
    for outcome in assets:
        for name, value in outcome["metrics"].items():
            if isinstance(value, int | float):
                values.setdefault(name, []).append(float(value))
    return {
        "metrics": {
            name: {
                "mean": statistics.fmean(numbers),
                "std": statistics.pstdev(numbers),
                "min": min(numbers),
                "max": max(numbers),
                "count": len(numbers),
            }
            for name, numbers in values.items()
        },
        "assets": assets,
        "failures": [outcome for outcome in outcomes if "error" in outcome],
    }
