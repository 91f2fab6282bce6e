"""The Janus benchmark's assets, made as a suite, and their summary."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.suite import suite
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.files import atomic_write
from tasks.job import Request
from toybox.janus.about import about
from toybox.janus.leaderboard import write_result
from toybox.janus.summary import summarize

ASSETS, PROMPTS, ROWS, SUMMARY = "assets", "prompts.yaml", "results.jsonl", "summary.json"


def janus_overrides(prior: str, stage2_prior: str | None) -> tuple[str, ...]:
    """The settings of a run; without a prior for stage 2 that stage is left out."""
    second = "iterations=0" if stage2_prior is None else f"prior={json.dumps(stage2_prior)}"
    return f"stage1.prior={json.dumps(prior)}", f"stage2.{second}"


def janus(
    settings: Request, prompts: list[str], seeds: list[int], out: Path, **how: Any
) -> dict[str, Any]:
    """Make an asset of each prompt and seed; returns what summary.json holds, and `failed`.

    Writes OUT/assets (a suite: what is done stays done), OUT/results.jsonl, a line an asset, and
    OUT/summary.json.

    Args:
        settings: for every asset; its prompt and seed are not read.
        how: `workers` and `batch`, as for flows/suite.py.

    Raises:
        UserError: as flows/suite.py.
    """
    # 1. Make them.
    out.mkdir(parents=True, exist_ok=True)
    (out / PROMPTS).write_text(json.dumps(prompts, indent=1) + "\n", encoding="utf-8")
    made = suite(
        str(out / PROMPTS),
        str(out / ASSETS),
        seeds=seeds,
        params=settings.params,
        overrides=list(settings.overrides),
        quick=settings.quick,
        preset=settings.preset,
        **how,
    )

    # 2. Keep each asset's figures.
    rows = [{name: one[name] for name in ("prompt", "seed", "metrics")} for one in made["assets"]]
    with atomic_write(out / ROWS) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    # 3. Sum them up.
    params = Path(settings.params) if settings.params else None
    config = load_config(params, list(settings.overrides), settings.quick, settings.preset)
    summary = {
        "name": out.name,
        **about(config),
        "date": datetime.now(UTC).date().isoformat(),
        "seeds": seeds,
        "failures": len(made["failures"]),
        "results": ROWS,
        **summarize(rows),
    }
    write_result(out / SUMMARY, summary)
    return {**summary, "failed": made["failures"]}
