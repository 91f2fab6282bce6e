"""The Janus leaderboard's first rows: what was measured for docs/claims.md before there was one.

    python -m benchmarks.claims.janus_rows && python -m toybox.janus.leaderboard

Figures stay in metrics/experiments; each result in metrics/janus names the file and the variant.
"""

from typing import Any

from benchmarks.claims.rows import read_settings
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config
from toybox.janus.about import about
from toybox.janus.leaderboard import write_result

OUT = ROOT / "metrics" / "janus"
FIRST, STRONG = "2026-11-26", "2026-11-29"  # when the rows were committed
NO_STAGE2 = "stage2.iterations=0"
# Of each file of rows: whose recipes they are, which of them, how the results' names end, and the
# date. Of faces-heldout.yaml's fourth recipe only a third was made, so it is not among them.
HELDOUT = ("plain", "plain-constant", "sds")
CURES = ("perp-neg", "interpolate", "score-clip", "object")
SOURCES = {
    "faces-measured.jsonl": ("faces.yaml", None, "", FIRST),
    "faces-heldout.jsonl": ("faces-heldout.yaml", HELDOUT, "-strips", FIRST),
    "faces-stage2.jsonl": ("faces.yaml", ("plain",), "-then-stage2", FIRST),
    "faces-strong.jsonl": ("faces-strong.yaml", None, "-strong-strips", STRONG),
    "faces-cures.jsonl": ("faces-cures.yaml", CURES, "-strong-strips", STRONG),
}


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for rows, (file, chosen, ending, date) in SOURCES.items():
        claims = read_settings(ROOT / "benchmarks" / "claims" / file)
        for recipe in chosen or claims["recipes"]:
            found = result(claims, recipe, rows) | {"name": recipe + ending, "date": date}
            write_result(OUT / f"{found['name']}.json", found)


def result(claims: dict[str, Any], recipe: str, rows: str) -> dict[str, Any]:
    """As a run of `stabledreamer bench janus` would have written it, but for its name."""
    then = rows == "faces-stage2.jsonl"
    overrides = [*claims["base"], *claims["recipes"][recipe]]
    config = load_config(None, [one for one in overrides if not then or one != NO_STAGE2])
    return {
        **about(config),
        "seeds": [0] if then else claims["seeds"],
        "failures": 0,
        "results": f"../experiments/{rows}",
        "variant": f"{recipe}, then stage 2" if then else recipe,
    }


if __name__ == "__main__":
    main()
