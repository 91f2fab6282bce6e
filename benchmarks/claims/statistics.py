"""Means, spreads and paired tests of assets' metrics: pure functions.

A row is one asset: {"variant", "prompt", "seed", "metrics": {name: number or None}}. Seeds of one
prompt are not independent trials of a recipe, prompts are. So seeds are averaged first, and n is
the number of prompts.
"""

import math
import statistics
from itertools import product
from typing import Any

import numpy as np
from scipy import stats

from stabledreamer_core.metrics.stability import spread_over_seeds

Row = dict[str, Any]

BEST = {  # of a perfect asset, and in the order of the tables
    **dict.fromkeys(("category", "colour", "accessory", "view", "view_exact"), 1.0),
    "multi_face": 0.0,
    "frontal": 0.125,
    "r_precision": 1.0,
    "chamfer": 0.0,
    **dict.fromkeys(("f_score", "normal_consistency"), 1.0),
    "colour_error": 0.0,
    "detail": 1.0,
}


def prompt_means(rows: list[Row], variant: str, metric: str) -> dict[str, float]:
    """Each prompt's mean over its seeds; prompts without the metric are left out."""
    values: dict[str, list[float]] = {}
    for row in rows:
        value = row["metrics"].get(metric)
        if row["variant"] == variant and value is not None:
            values.setdefault(row["prompt"], []).append(float(value))
    return {prompt: statistics.fmean(found) for prompt, found in values.items()}


def describe(rows: list[Row], variant: str, metric: str) -> dict[str, float | int | None] | None:
    """Mean over prompts, `spread` (standard deviation over prompts, None for one), `seed_spread`
    (the same over seeds within prompts, None for one seed) and n; None where nothing was measured.
    """
    means = list(prompt_means(rows, variant, metric).values())
    if not means:
        return None
    seeds = spread_over_seeds((row for row in rows if row["variant"] == variant), metric)
    return {
        "mean": statistics.fmean(means),
        "spread": statistics.stdev(means) if len(means) > 1 else None,
        "seed_spread": seeds["spread"],
        "n": len(means),
    }


def compare(
    rows: list[Row], ours: str, other: str, metric: str
) -> dict[str, float | int | None] | None:
    """The difference ours - other over the prompts and seeds that both have.

    Returns:
        n; `ours` and `other`, the means over these prompts; `difference` with `low` and `high`, the
        ends of its 95 % interval (Student's t; None for one prompt); `p`, two-sided, of Wilcoxon's
        signed-rank test, exact up to 13 prompts, 1 where no prompt differs. None without prompts.

    How it misleads: the interval takes differences for normal, which shares of eight views are not;
    with n prompts p cannot be below 2 / 2^n, so four prompts prove nothing (.125).
    """
    both = _assets(rows, ours, metric) & _assets(rows, other, metric)
    shared = [row for row in rows if (row["prompt"], row["seed"]) in both]
    a, b = prompt_means(shared, ours, metric), prompt_means(shared, other, metric)
    prompts = list(a)
    if not prompts:
        return None
    differences = [a[prompt] - b[prompt] for prompt in prompts]
    mean, n = statistics.fmean(differences), len(prompts)
    half = None
    if n > 1:
        half = stats.t.ppf(0.975, n - 1) * statistics.stdev(differences) / math.sqrt(n)
    return {
        "n": n,
        "ours": statistics.fmean(a[prompt] for prompt in prompts),
        "other": statistics.fmean(b[prompt] for prompt in prompts),
        "difference": mean,
        "low": None if half is None else mean - half,
        "high": None if half is None else mean + half,
        "p": signed_rank_p(differences),
    }


def _assets(rows: list[Row], variant: str, metric: str) -> set[tuple[str, int]]:
    """The prompts and seeds of a variant's assets that have the metric."""
    mine = [row for row in rows if row["variant"] == variant]
    return {(row["prompt"], row["seed"]) for row in mine if row["metrics"].get(metric) is not None}


def signed_rank_p(differences: list[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; zeros are dropped, ties share their rank.

    Up to 13 differences it is exact: where some tie, which the formula does not allow, by trying
    every choice of signs.
    """
    differences = [value for value in differences if abs(value) > 1e-12]
    if len(differences) < 2:
        return 1.0
    if len(differences) > 13:
        return float(stats.wilcoxon(differences, method="approx").pvalue)
    if len({abs(value) for value in differences}) == len(differences):
        return float(stats.wilcoxon(differences, method="exact").pvalue)
    ranks = stats.rankdata(np.abs(differences))
    sums = np.array(list(product((0, 1), repeat=len(ranks)))) @ ranks  # of positive ones
    found = ranks[np.array(differences) > 0].sum()
    return min(1.0, 2.0 * float(min((sums <= found).mean(), (sums >= found).mean())))
