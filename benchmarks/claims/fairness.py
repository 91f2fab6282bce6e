"""The table of fairness.yaml: peers and ours, with what may have made the comparison unfair.

    python -m benchmarks.claims.fairness metrics/experiments/fairness.jsonl

The commands that made the assets stand in benchmarks/claims/fairness.yaml; `--bring OUT` takes what
suite_table measured there into the file first.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.claims.statistics import Row, compare, describe
from stabledreamer_core.files import atomic_write

METRICS = ("view_exact", "chamfer", "f_score", "colour_error", "detail")
PAIRS = (  # what is compared, ours, other
    ("our opacity term, pixel prior", "pixel-only", "pixel-only-free"),
    ("our opacity term, latent prior", "latent-only", "latent-only-free"),
    ("eight view words against four, ours, pixel prior", "pixel-only", "pixel-only-four"),
    ("eight against four, ours, latent prior", "latent-only", "latent-only-four"),
    ("eight against four, DreamFusion", "dreamfusion-if-s5-eight", "dreamfusion-if-s5"),
    ("eight against four, threestudio-3dgs", "threestudio-3dgs-s5-eight", "threestudio-3dgs-s5"),
    ("eight against four, GSGEN", "gsgen-s5-eight", "gsgen-s5"),
    ("eight against none, DreamGaussian", "dreamgaussian-s5-eight", "dreamgaussian-s5"),
    ("four against none, DreamGaussian", "dreamgaussian-s5-four", "dreamgaussian-s5"),
    ("eight against four, GaussianDreamer", "gaussiandreamer-s5-eight", "gaussiandreamer-s5"),
    ("eight against four, LucidDreamer", "luciddreamer-eight", "luciddreamer"),
    ("betas .9, .999 against .9, .99, threestudio-3dgs", "threestudio-3dgs-s5",
     "threestudio-3dgs-s5-betas"),
    ("the same, DreamGaussian", "dreamgaussian-s5", "dreamgaussian-s5-betas"),
    ("the same, LucidDreamer", "luciddreamer", "luciddreamer-betas"),
    ("x0 limited in each of several steps", "dataset-update", "dataset-update-unlimited"),
    ("recipe read again, DreamFusion", "dreamfusion-if-s5", "old-dreamfusion-if-s5"),
    ("recipe read again, threestudio-3dgs", "threestudio-3dgs-s5", "old-threestudio-3dgs-s5"),
    ("recipe read again, GSGEN", "gsgen-s5", "old-gsgen-s5"),
    ("recipe read again, DreamGaussian, as published", "dreamgaussian", "old-dreamgaussian"),
    ("recipe read again, DreamGaussian", "dreamgaussian-s5", "old-dreamgaussian-s5"),
    ("recipe read again, GaussianDreamer", "gaussiandreamer-s5", "old-gaussiandreamer-s5"),
    ("recipe read again, LucidDreamer", "luciddreamer", "old-luciddreamer"),
    ("ours without its term against DreamFusion", "pixel-only-free", "dreamfusion-if-s5-eight"),
    ("ours without its term against threestudio-3dgs", "latent-only-free",
     "threestudio-3dgs-s5-eight"),
    ("ours without its term against GSGEN", "latent-only-free", "gsgen-s5-eight"),
    ("ours without its term against DreamGaussian", "latent-only-free", "dreamgaussian-s5-eight"),
    ("ours without its term against GaussianDreamer", "latent-only-free",
     "gaussiandreamer-s5-eight"),
    ("ours without its term against LucidDreamer", "latent-only-free", "luciddreamer-eight"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, help="rows, one an asset")
    parser.add_argument("--bring", type=Path, metavar="OUT", help="what suite_table measured")
    arguments = parser.parse_args()
    if arguments.bring:
        bring(arguments.bring / "measured.jsonl", arguments.file)
    rows = [json.loads(line) for line in arguments.file.read_text().splitlines()]
    print(table(rows))
    print()
    print(tests(rows))


def bring(measured: Path, file: Path) -> None:
    """Add measured assets to the rows, in the place of those of the same recipes."""
    new = [row_of(json.loads(line)) for line in measured.read_text().splitlines()]
    lines = file.read_text().splitlines() if file.exists() else []
    brought = {row["variant"] for row in new}
    rows = [row for row in map(json.loads, lines) if row["variant"] not in brought] + new
    with atomic_write(file) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))


def row_of(asset: dict[str, Any]) -> Row:
    """A measured asset as a row of statistics.py."""
    metrics = {name: round(asset["metrics"][name], 6) for name in METRICS
               if asset["metrics"].get(name) is not None}  # fmt: skip
    kept = {name: asset[name] for name in ("prompt", "seed")}
    return {"variant": asset["recipe"], **kept, "metrics": metrics}


def table(rows: list[Row]) -> str:
    """Markdown: the means of each recipe."""
    lines = [f"| recipe | {' | '.join(METRICS)} |", "|---" * (len(METRICS) + 1) + "|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        found = [describe(rows, variant, metric) for metric in METRICS]
        cells = [f"{one['mean']:.4f}" if one else "-" for one in found]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tests(rows: list[Row]) -> str:
    """Markdown: the paired tests, ours - other, with p in brackets."""
    lines = [f"| | {' | '.join(METRICS)} |", "|---" * (len(METRICS) + 1) + "|"]
    for what, ours, other in PAIRS:
        found = [compare(rows, ours, other, metric) for metric in METRICS]
        cells = [f"{one['difference']:+.4f} ({one['p']:.4f})" if one else "-" for one in found]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
