"""The leaderboard in docs/janus.md, from the results in metrics/janus.

    python -m toybox.janus.leaderboard    # writes it anew

A result is NAME.json, the summary.json of a run: what was made, and `results`, the file of its rows
beside it (or, of older rows, anywhere in the repository, those of one `variant`). The rates on the
page are counted anew from the rows.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import atomic_write
from toybox.janus.summary import Row, summarize
from toybox.judge import ROOT

BEGIN, END = "<!-- leaderboard, written by toybox/janus/leaderboard.py -->", "<!-- end -->"
RATES = ("one_face", "second_face", "too_frontal", "no_front", "another_thing")
MEANS = ("view", "detail", "chamfer")

Result = dict[str, Any]


def check_name(name: str) -> None:
    """Raise a UserError where a result cannot be added under this name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,59}", name):
        raise UserError(
            f"a leaderboard name has small letters, digits, dots and hyphens, not {name!r}"
        )
    if not _page().is_file():
        raise UserError(f"there is no {_page()}: only a clone of the repository has the page")
    if (file := _folder() / f"{name}.json").exists():
        raise UserError(f"the leaderboard has a {name} already; choose another or remove {file}")


def add(name: str, out: Path) -> list[Path]:
    """Copy a run's result into the leaderboard and write the page; returns what is to be committed.

    Raises:
        UserError: the name will not do, or is taken.
    """
    check_name(name)
    summary, rows = _folder() / f"{name}.json", _folder() / f"{name}.jsonl"
    summary.parent.mkdir(parents=True, exist_ok=True)
    result = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    shutil.copyfile(out / result["results"], rows)
    write_result(summary, result | {"name": name, "results": rows.name})
    write_page()
    return [summary, rows, _page()]


def write_result(file: Path, result: Result) -> None:
    """As JSON."""
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def write_page() -> None:
    """Put the leaderboard between its two marks in docs/janus.md."""
    before, _, rest = _page().read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{before}{BEGIN}\n\n{leaderboard()}\n{END}{after}"
    with atomic_write(_page()) as temporary:
        temporary.write_text(text, encoding="utf-8")


def leaderboard() -> str:
    """Two Markdown tables: the figures, and how the assets were made."""
    results = []
    for file in sorted(_folder().glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        results.append(result | summarize(read_rows(result)))
    return "\n".join([*figures(results), "", *_makings(results)]) + "\n"


def read_rows(result: Result) -> list[Row]:
    """The rows that a result names."""
    file = _folder() / result["results"]
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if row.get("variant") == result.get("variant")]


def figures(results: list[Result]) -> list[str]:
    """A line each, rates and their intervals in percent; at the top those surest of one face."""
    names = [name.replace("_", " ") for name in (*RATES, *MEANS)]
    lines = [f"| | {' | '.join(names)} | assets |", "|---" * 10 + "|"]
    for result in sorted(results, key=_rank):
        rates = [_percent(result["rates"][name]) for name in RATES]
        values = [result["means"][name] for name in MEANS]
        means = ["-" if value is None else f"{value:.3f}" for value in values]
        failed = f", {result['failures']} failed" if result.get("failures") else ""
        made = f"{result['assets']} of {result['toys']} toys{failed}"
        lines.append(f"| {' | '.join([result['name'], *rates, *means, made])} |")
    return lines


def _makings(results: list[Result]) -> list[str]:
    lines = ["| | stage 1's prior | stage 2's | settings | version | date |", "|---" * 6 + "|"]
    for result in sorted(results, key=_rank):
        changed = "; ".join(f"`{name}={value}`" for name, value in result["settings"].items())
        cells = [result["name"], result["prior"], result["stage2_prior"] or "none", changed or "-"]
        lines.append(f"| {' | '.join([*cells, result['version'], result['date']])} |")
    return lines


def _rank(result: Result) -> tuple[float, str]:
    """By the low end, so that few assets are no advantage."""
    return -(result["rates"]["one_face"] or {"low": 0.0})["low"], result["name"]


def _percent(rate: dict[str, float] | None) -> str:
    if rate is None:
        return "-"
    share, low, high = (round(100 * rate[name]) for name in ("rate", "low", "high"))
    return f"{share} % ({low} to {high})"


def _folder() -> Path:
    return ROOT / "metrics" / "janus"


def _page() -> Path:
    return ROOT / "docs" / "janus.md"


if __name__ == "__main__":
    write_page()
