"""Does this machine repeat the small benchmark? Each published mean against this run's.

    python -m benchmarks.claims.verdict    # the end of `make bench`

What is published is what Git has at HEAD. Another processor or package gives other last bits, and
those another asset, as another seed does. So a mean may differ by as much as two seeds of one
prompt do at most, in that variant or, as two seeds may agree by chance, in the middle one of all:
the published assets and those of other seeds, in metrics/seeds.csv, say by how much. Further off
is something else, and the exit status is 1.
"""

import csv
import io
import json
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.claims.statistics import BEST, Row
from stabledreamer_core.metrics.stability import spread_over_seeds

SUMMARY, ASSETS = "metrics/summary.json", "metrics/assets.csv"
SEEDS = Path("metrics/seeds.csv")
EQUAL, WITHIN, NOT = "equal", "within the spread over seeds", "not"


def main() -> None:
    seeds = rows_of(_published(ASSETS)) + rows_of(SEEDS.read_text(encoding="utf-8"))
    published, here = json.loads(_published(SUMMARY)), json.loads(Path(SUMMARY).read_text())
    found = verdicts(published["variants"], here["variants"], seeds)
    print(table(found))
    outside = [f"{line['variant']} {line['metric']}" for line in found if line["verdict"] == NOT]
    if outside:
        sys.exit(f"Outside the spread over seeds: {', '.join(outside)}")


def verdicts(
    published: dict[str, Any], here: dict[str, Any], seeds: list[Row]
) -> list[dict[str, Any]]:
    """A line for every published mean, with this run's and the spread.

    Args:
        published, here: {variant: {metric: {"mean": ...}}}.
        seeds: assets of several seeds.
    """
    apart = {metric: _apart(seeds, metric) for metric in BEST}
    lines = []
    for variant, metrics in published.items():
        for metric, figures in metrics.items():
            mean = figures["mean"]
            now = here.get(variant, {}).get(metric, {}).get("mean")
            middle = statistics.median(apart[metric].values())
            spread = max(apart[metric].get(variant, 0.0), middle)
            line = {"variant": variant, "metric": metric, "published": mean, "here": now}
            lines.append({**line, "spread": spread, "verdict": verdict(mean, now, spread)})
    return lines


def _apart(seeds: list[Row], metric: str) -> dict[str, float]:
    """The largest difference between two seeds of one prompt, by variant."""
    rows: dict[str, list[Row]] = {}
    for row in seeds:
        rows.setdefault(row["variant"], []).append(row)
    return {name: spread_over_seeds(mine, metric)["worst"] or 0.0 for name, mine in rows.items()}


def verdict(published: float, here: float | None, spread: float) -> str:
    """`EQUAL`, `WITHIN` or `NOT`; without a mean of this run, `NOT`."""
    if here == published:
        return EQUAL
    return WITHIN if here is not None and abs(here - published) <= spread else NOT


def table(lines: list[dict[str, Any]]) -> str:
    """How many there are of each verdict, below a table of all that are not equal."""
    text = [f"{'':31} {'published':>10} {'here':>10} {'spread':>10}"]
    for line in lines:
        if line["verdict"] != EQUAL:
            now = "missing" if line["here"] is None else f"{line['here']:.4f}"
            name = f"{line['variant']} {line['metric']}"
            figures = f"{line['published']:>10.4f} {now:>10} {line['spread']:>10.4f}"
            text.append(f"{name:31} {figures}  {line['verdict']}")
    count = Counter(line["verdict"] for line in lines)
    told = ", ".join(f"{count[name]} {name}" for name in (EQUAL, WITHIN, NOT))
    return "\n".join([*(text if len(text) > 1 else []), f"{len(lines)} published means: {told}"])


def rows_of(assets: str) -> list[Row]:
    """The rows of an assets.csv, as tables.py writes it."""
    return [
        {
            **{name: row[name] for name in ("variant", "prompt", "seed")},
            "metrics": {name: float(row[name]) for name in BEST if row[name]},
        }
        for row in csv.DictReader(io.StringIO(assets))
    ]


def _published(name: str) -> str:
    """A file as it is at HEAD."""
    done = subprocess.run(["git", "show", f"HEAD:{name}"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"verdict: Git has no published {name} here: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
