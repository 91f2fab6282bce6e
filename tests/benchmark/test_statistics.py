"""Means, spreads and paired tests against numpy, a t-test and a count of all signs."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata, ttest_rel

from benchmarks.claims.statistics import BEST, compare, describe, signed_rank_p
from toybox.metrics.evaluate import NAMES

A = [[0.9, 0.7], [0.5, 0.6], [1.0, 1.0], [0.2, 0.3]]  # prompts x seeds
B = [[0.4, 0.6], [0.6, 0.2], [0.9, 0.6], [0.3, 0.4]]


def rows(variant: str, values: list[list[float]], metric: str = "view") -> list[dict]:
    return [
        {"variant": variant, "prompt": f"p{p}", "seed": s, "metrics": {metric: value}}
        for p, seeds in enumerate(values)
        for s, value in enumerate(seeds)
    ]


def all_signs_p(differences: list[float]) -> float:
    """Share of all choices of signs with a rank sum as far from the middle, or farther."""
    ranks = rankdata(np.abs(differences))
    middle = ranks.sum() / 2
    seen = abs(ranks[np.array(differences) > 0].sum() - middle)
    sums = [np.dot(signs, ranks) for signs in product((0, 1), repeat=len(ranks))]
    return float(np.mean([abs(total - middle) >= seen - 1e-9 for total in sums]))


def test_seeds_are_averaged_before_prompts():
    described = describe(rows("a", A), "a", "view")
    means = np.mean(A, 1)
    assert described == {
        "mean": pytest.approx(means.mean()),
        "spread": pytest.approx(means.std(ddof=1)),
        "seed_spread": pytest.approx(np.sqrt(np.var(A, 1, ddof=1).mean())),
        "n": 4,
    }


def test_more_seeds_are_not_more_prompts():
    one = compare(rows("a", A) + rows("b", B), "a", "b", "view")
    thrice = rows("a", [seeds * 3 for seeds in A]) + rows("b", [seeds * 3 for seeds in B])
    assert compare(thrice, "a", "b", "view") == pytest.approx(one)


def test_the_interval_is_the_paired_t_tests():
    found = compare(rows("a", A) + rows("b", B), "a", "b", "view")
    interval = ttest_rel(np.mean(A, 1), np.mean(B, 1)).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
    assert found["difference"] == pytest.approx(np.mean(A) - np.mean(B))
    assert found["ours"] - found["other"] == pytest.approx(found["difference"])


def test_only_prompts_that_both_have_are_compared():
    found = compare(rows("a", A) + rows("b", B[:2]), "a", "b", "view")
    assert found["n"] == 2 and found["ours"] == pytest.approx(np.mean(A[:2]))


def test_only_seeds_that_both_have_are_compared():
    first = [seeds[:1] for seeds in A]
    found = compare(rows("a", A) + rows("b", [seeds[:1] for seeds in B]), "a", "b", "view")
    assert found["n"] == 4 and found["ours"] == pytest.approx(np.mean(first))


@pytest.mark.parametrize(
    "differences",
    [
        [0.5],
        [1.0, 2.0, 3.0, 4.0],
        [0.125, 0.125, 0.125, -0.125, 0.25, 0.25],  # shares of eight views: nothing but ties
        [0.3, -0.1, 0.2, 0.7, -0.4, 0.5, 0.6, -0.8, 0.9, 1.1, 1.2, -1.3],
    ],
)
def test_p_is_that_of_all_choices_of_signs(differences):
    assert signed_rank_p(differences) == pytest.approx(all_signs_p(differences))
    assert signed_rank_p([0.0, *differences, 0.0]) == pytest.approx(all_signs_p(differences))


def test_p_of_many_prompts_is_finite_and_small_where_all_agree():
    assert 0.0 < signed_rank_p([0.1 * step for step in range(1, 31)]) < 1e-5


def test_variants_that_do_not_differ():
    found = compare(rows("a", A) + rows("b", A), "a", "b", "view")
    assert (found["difference"], found["p"]) == (0.0, 1.0)


def test_what_was_not_measured_is_left_out():
    missing = [{**row, "metrics": {"view": None}} for row in rows("a", A)]
    assert describe(missing, "a", "view") is None
    assert compare(missing + rows("b", B), "a", "b", "view") is None
    one = describe(rows("a", [[0.5]]), "a", "view")
    assert one == {"mean": 0.5, "spread": None, "seed_spread": None, "n": 1}


def test_the_tables_metrics_exist():
    assert set(BEST) <= set(NAMES)
