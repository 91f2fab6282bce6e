"""A suite's run compared with the one before: what got worse, and what else changed.

A run is one entry of history.jsonl (history.py): the metrics and seconds of each asset, and the
failures. Assets are the same if prompt and seed are.
"""

import math
from dataclasses import dataclass
from typing import Any

from stabledreamer.runtime.artifacts import counted, escaped, number, table
from stabledreamer.runtime.figures import WANTED

Entry = dict[str, Any]
Pair = tuple[str, int]  # prompt, seed

TOLERANCE = 0.01  # of shares; one judged view of 24 is 0.04
TOLERANCES = {"chamfer": 0.001, "colour_error": 0.005, "detail": 0.1, "volume_ratio": 0.02}
SLOWER = 1.25  # times; less is the machine's mood
SLOWER_S = 5.0


@dataclass(frozen=True)
class Change:
    """One figure of one asset; None where it was not measured."""

    prompt: str
    seed: int
    figure: str
    before: float | None
    now: float | None


@dataclass(frozen=True)
class Comparison:
    """What changed. Lists are in the order of the newer run."""

    worse: list[Change]
    better: list[Change]
    slower: list[Change]
    failing: list[dict[str, Any]]  # failed now and not before: prompt, seed, error
    mended: list[Pair]  # failed before and not now
    added: list[Pair]
    removed: list[Pair]
    other_settings: int  # assets made with other settings than before

    @property
    def verdict(self) -> str:
        """One line."""
        assets = len({(change.prompt, change.seed) for change in self.worse})
        worse = f"{counted(len(self.worse), 'figure')} of {counted(assets, 'asset')} got worse"
        failing = counted(len(self.failing), "new failure")
        told = [worse] * bool(self.worse) + [failing] * bool(self.failing)
        return "; ".join(told) or "nothing got worse"


def compare(before: Entry, now: Entry) -> Comparison:
    """Compare two runs of a suite."""
    old, new = _assets(before), _assets(now)
    old_failures, new_failures = _failures(before), _failures(now)
    both = [pair for pair in new if pair in old]
    changes = [change for pair in both for change in _changes(pair, old[pair], new[pair])]
    asked_before, asked_now = {*old, *old_failures}, {*new, *new_failures}
    return Comparison(
        worse=[change for change in changes if _loss(change) > 0.0],
        better=[change for change in changes if _loss(change) < 0.0],
        slower=[change for pair in both for change in _slower(pair, old[pair], new[pair])],
        failing=[one for pair, one in new_failures.items() if pair not in old_failures],
        mended=[pair for pair in new if pair in old_failures],
        added=[pair for pair in [*new, *new_failures] if pair not in asked_before],
        removed=[pair for pair in [*old, *old_failures] if pair not in asked_now],
        other_settings=sum(old[pair]["config_hash"] != new[pair]["config_hash"] for pair in both),
    )


def markdown(comparison: Comparison, before: Entry, now: Entry) -> str:
    """comparison.md, which Prefect's page shows as well."""
    parts = [
        f"# {comparison.verdict.capitalize()}",
        f"The run of {now['time']} against that of {before['time']}.",
    ]
    if before["code"] != now["code"]:
        parts.append("The code is another.")
    if comparison.other_settings:
        parts.append(f"{counted(comparison.other_settings, 'asset')} had other settings before.")
    sections: list[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]] = [
        ("Worse", FIGURES, _rows(comparison.worse)),
        ("Failing now", (*ASSET, "why"), failure_rows(comparison.failing)),
        ("Slower (seconds)", FIGURES, _rows(comparison.slower)),
        ("Better", FIGURES, _rows(comparison.better)),
        ("Failing no more", ASSET, _pairs(comparison.mended)),
        ("New", ASSET, _pairs(comparison.added)),
        ("No longer asked for", ASSET, _pairs(comparison.removed)),
    ]
    for title, header, rows in sections:
        if rows:
            parts += [f"## {title}", table(header, rows)]
    return "\n\n".join(parts) + "\n"


ASSET = ("prompt", "seed")
FIGURES = (*ASSET, "figure", "before", "now")


def _rows(changes: list[Change]) -> list[tuple[Any, ...]]:
    return [
        (escaped(one.prompt), one.seed, one.figure, number(one.before), number(one.now))
        for one in changes
    ]


def failure_rows(failures: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Prompt, seed and why, for a table."""
    return [(escaped(one["prompt"]), one["seed"], escaped(one["error"])) for one in failures]


def _pairs(pairs: list[Pair]) -> list[tuple[Any, ...]]:
    return [(escaped(prompt), seed) for prompt, seed in pairs]


def _assets(entry: Entry) -> dict[Pair, dict[str, Any]]:
    return {(asset["prompt"], asset["seed"]): asset for asset in entry["assets"]}


def _failures(entry: Entry) -> dict[Pair, dict[str, Any]]:
    return {(failure["prompt"], failure["seed"]): failure for failure in entry["failures"]}


def _changes(pair: Pair, before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """Figures nearer to, or farther from, what is wanted by more than their tolerance."""
    old, new = before["metrics"], now["metrics"]
    changes = [Change(*pair, name, old.get(name), new.get(name)) for name in WANTED]
    return [one for one in changes if abs(_loss(one)) > TOLERANCES.get(one.figure, TOLERANCE)]


def _loss(change: Change) -> float:
    """How much farther from what is wanted; endless for what can no longer be measured."""
    if change.before is None:
        return 0.0 if change.now is None else -math.inf
    if change.now is None:
        return math.inf
    wanted = WANTED[change.figure]
    return abs(change.now - wanted) - abs(change.before - wanted)


def _slower(pair: Pair, before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    old, new = before["seconds"], now["seconds"]
    if new > SLOWER * old and new - old > SLOWER_S:
        return [Change(*pair, "seconds", old, new)]
    return []
