"""Two runs of a suite compared: what got worse, and that it is told."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import history
from flows.comparison import WANTED, compare, markdown
from toybox.metrics.evaluate import NAMES

GOOD = {"category": 1.0, "chamfer": 0.02, "multi_face": 0.0, "volume_ratio": 1.0}


def run(*assets, failures=(), code="abc"):
    """An entry; each asset is (prompt, metrics) or (prompt, metrics, seconds)."""
    return {
        "time": "2026-01-01T03:00:00+00:00",
        "code": code,
        "assets": [
            {
                "prompt": prompt,
                "seed": 0,
                "metrics": metrics,
                "seconds": seconds[0] if seconds else 60.0,
                "config_hash": "h",
            }
            for prompt, metrics, *seconds in assets
        ],
        "failures": [{"prompt": one, "seed": 0, "error": "no <b>luck</b>"} for one in failures],
    }


def figures(changes):
    return [(change.prompt, change.figure) for change in changes]


@pytest.mark.parametrize(
    ("figure", "before", "now", "worse"),
    [
        ("category", 1.0, 0.875, True),
        ("category", 0.875, 1.0, False),
        ("chamfer", 0.02, 0.03, True),
        ("chamfer", 0.03, 0.02, False),
        ("multi_face", 0.0, 1.0, True),
        ("frontal", 0.125, 0.25, True),  # a second front
        ("frontal", 0.0, 0.125, False),
        ("prior_fronts", 0.375, 0.75, True),
        ("volume_ratio", 1.0, 0.9, True),  # wanted is 1, from either side
        ("volume_ratio", 1.3, 1.1, False),
        ("volume_ratio", 1.1, 0.7, True),
        ("chamfer", 0.02, None, True),  # can no longer be measured
        ("chamfer", None, 0.02, False),
    ],
)
def test_worse_is_farther_from_what_a_perfect_asset_has(figure, before, now, worse):
    result = compare(run(("a bear", {figure: before})), run(("a bear", {figure: now})))
    expected = [("a bear", figure)]
    assert (figures(result.worse), figures(result.better)) == (
        (expected, []) if worse else ([], expected)
    )


@pytest.mark.parametrize(
    ("figure", "before", "now"),
    [
        ("category", 1.0, 0.995),
        ("chamfer", 0.02, 0.0205),
        ("volume_ratio", 1.1, 0.9),  # as wrong as before
        ("clip_score", None, None),
        ("tomorrows_figure", 1.0, 0.0),  # nobody said which way is good
    ],
)
def test_other_changes_are_not_judged(figure, before, now):
    result = compare(run(("a bear", {figure: before})), run(("a bear", {figure: now})))
    assert result.verdict == "nothing got worse"
    assert not result.better


def test_failures_are_told_once_and_their_end_as_well():
    before = run(("a bear", GOOD), ("a car", GOOD), failures=["a mug"])
    now = run(("a bear", GOOD), ("a mug", GOOD), ("a cat", GOOD), failures=["a car", "a fish"])
    result = compare(before, now)
    assert [failure["prompt"] for failure in result.failing] == ["a car", "a fish"]
    assert result.mended == [("a mug", 0)]
    assert result.added == [("a cat", 0), ("a fish", 0)]
    assert result.removed == []
    assert compare(now, now).failing == []
    assert compare(before, run(("a bear", GOOD))).removed == [("a car", 0), ("a mug", 0)]


def test_slower_needs_a_share_and_seconds():
    def slower(before, now):
        return compare(run(("a bear", GOOD, before)), run(("a bear", GOOD, now))).slower

    assert slower(60.0, 100.0) and not slower(60.0, 70.0) and not slower(1.0, 3.0)


def test_the_text_names_what_changed_and_nothing_else():
    before = run(("a bear", GOOD, 60.0))
    now = run(("a bear", {**GOOD, "category": 0.5}, 60.0), failures=["a mug"], code="other")
    text = markdown(compare(before, now), before, now)
    assert text.startswith("# 1 figure of 1 asset got worse; 1 new failure\n")
    assert "| a bear | 0 | category | 1 | 0.5 |" in text
    assert "<b>" not in text and "code is another" in text
    assert "## Better" not in text and "## Slower" not in text
    same = markdown(compare(before, before), before, before)
    assert same.startswith("# Nothing got worse\n") and "##" not in same


metrics = st.dictionaries(
    st.sampled_from(sorted(WANTED)),
    st.none() | st.floats(0.0, 2.0, allow_nan=False),
)
entries = st.lists(st.tuples(st.text(max_size=5), metrics), unique_by=lambda one: one[0]).map(
    lambda assets: run(*assets)
)


@given(entries, entries)
def test_backwards_worse_is_better_and_new_is_gone(before, now):
    there, back = compare(before, now), compare(now, before)
    assert sorted(figures(there.worse)) == sorted(figures(back.better))
    assert sorted(there.added) == sorted(back.removed)
    assert markdown(there, before, now)


def test_every_figure_is_judged_or_known_not_to_be():
    assert set(NAMES) - set(WANTED) <= {"prior_front_arcs"}
    assert all(math.isfinite(wanted) for wanted in WANTED.values())


def test_history_keeps_every_run_and_gives_the_one_before(tmp_path):
    first, second = run(("a bear", GOOD)), run(("a car", GOOD))
    assert history.append(tmp_path, first) is None
    assert history.append(tmp_path, second) == first
    assert history.read(tmp_path) == [first, second]


@pytest.mark.parametrize("line", ["{", "[]", "1", '"text"', "{}", '{"time": 1, "code": 2}'])
def test_a_damaged_line_of_history_is_passed_over(tmp_path, line):
    good = run(("a bear", GOOD))
    asset_without_metrics = {**good, "assets": [{"prompt": "a bear", "seed": 0}]}
    lines = [json.dumps(good), line, json.dumps(asset_without_metrics)]
    (tmp_path / history.NAME).write_text("\n".join(lines))
    assert history.read(tmp_path) == [good]


def test_an_entry_is_made_of_a_summary():
    stages = {"stage1": {"seconds": 3.0}, "stage2": {"seconds": 4.0}}
    asset = {"prompt": "a", "seed": 1, "folder": "a-s1", "stages": stages, "metrics": GOOD}
    summary = {"metrics": {}, "assets": [{**asset, "config_hash": "h"}], "failures": []}
    made = history.entry(summary)
    (kept,) = made["assets"]
    assert (kept["prompt"], kept["seed"], kept["seconds"]) == ("a", 1, 7.0)
    assert compare(made, made).verdict == "nothing got worse"
