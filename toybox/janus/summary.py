"""Rates of what is wrong with assets' faces, each with a 95 % interval. Pure functions.

A row is one asset: {"prompt", "seed", "metrics": {name: number or None}}.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from toybox.captions import parse
from toybox.janus.verdicts import verdicts

MEANS = ("frontal", "category", "view", "detail", "chamfer")
RESAMPLES = 10_000
NORMAL_975 = 1.959963984540054  # the standard normal's quantile

Row = dict[str, Any]
Interval = tuple[float, float]


def summarize(rows: Sequence[Row]) -> dict[str, Any]:
    """`assets`, `toys`, `rates` by verdict and `means` by metric; None where nothing is measured.

    A rate is {rate, count, of, low, high}. `low` and `high` are the wider of two intervals at each
    end: Wilson's, as if assets were independent, and the bootstrap's over categories, because toys
    of one category tend to fail alike. (Where all assets agree the bootstrap has no width.)
    """
    judged = [(parse(row["prompt"]).category, verdicts(row["metrics"])) for row in rows]
    names = verdicts({})
    means = {}
    for name in MEANS:
        values = [row["metrics"].get(name) for row in rows]
        known = [value for value in values if value is not None]
        means[name] = statistics.fmean(known) if known else None
    return {
        "assets": len(rows),
        "toys": len({row["prompt"] for row in rows}),
        "rates": {name: _rate([(kind, found[name]) for kind, found in judged]) for name in names},
        "means": means,
    }


def _rate(found: list[tuple[str | None, bool | None]]) -> dict[str, float | int] | None:
    """Of (category, verdict) pairs."""
    groups: dict[str | None, list[bool]] = {}
    for category, verdict in found:
        if verdict is not None:
            groups.setdefault(category, []).append(verdict)
    if not groups:
        return None
    counts, sizes = [sum(group) for group in groups.values()], [*map(len, groups.values())]
    count, total = sum(counts), sum(sizes)
    ends = wilson(count, total), by_group(counts, sizes)
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return {"rate": count / total, "count": count, "of": total, "low": low, "high": high}


def wilson(count: int, total: int) -> Interval:
    """Wilson's 95 % score interval of a share, of independent trials."""
    share, z2 = count / total, NORMAL_975**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = NORMAL_975 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    half /= 1 + z2 / total
    return max(0.0, middle - half), min(1.0, middle + half)


def by_group(counts: Sequence[int], sizes: Sequence[int]) -> Interval:
    """The 95 % percentile bootstrap interval of a share, with whole groups drawn.

    Args:
        counts, sizes: of each group, how many have it, and how many there are.
    """
    drawn = np.random.default_rng(0).integers(len(sizes), size=(RESAMPLES, len(sizes)))
    shares = np.asarray(counts)[drawn].sum(1) / np.asarray(sizes)[drawn].sum(1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)
