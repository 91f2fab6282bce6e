"""What each noise and target is worth, from every asset's figures: metrics/experiments/methods.md.

    python -m benchmarks.claims.methods_table                     # write the page anew
    python -m benchmarks.claims.methods_table MEASURED ROWS       # suite_table's file as rows first

On test prompts: targets_stage1.yaml, targets_stage2.yaml, times_stage1.yaml and times_stage2.yaml
beside this file. The searches on tune prompts are in benchmarks/search. kept_stage1.yaml has no
recipe `default`: it is compared with those of methods_stage1.yaml and methods_stage2.yaml, made
from the same prompts and seeds.
"""

import argparse
from pathlib import Path
from statistics import fmean

from benchmarks.claims.statistics import Row, compare, describe, prompt_means
from benchmarks.claims.tables import table
from benchmarks.search.results import read_results, row_of, write_results
from stabledreamer.runtime.root import ROOT
from stabledreamer_core.files import atomic_write

FOLDER = ROOT / "metrics" / "experiments"
METRICS = ("chamfer", "f_score", "normal_consistency", "colour_error", "detail", "haze", "size")
REFERENCE = "default"
EARLY = "-1"  # how kept-stage1's variants after stage 1 end
ABOUT = """# Noises and targets, measured

What it means is in [targets](../../docs/targets.md#what-each-is-worth). The first four tables are
of twelve test prompts and three seeds, the others of twelve tune prompts and seed 0 (the last two:
0 and 1). Means over n assets, by chamfer; in brackets p of Wilcoxon's signed-rank test against
`default`, two-sided, over the prompts that both have, of this metric alone: of twenty equal ones,
one falls below .05. *Seeds* is chamfer's standard deviation over the seeds of a prompt.

Repeat all of it by `dvc repro benchmarks/experiments/dvc.yaml:methods_page`.
"""
NAMES = (
    "targets-stage1",
    "targets-stage2",
    "times-stage1",
    "times-stage2",
    "methods-stage1",
    "methods-stage2",
    "kept-stage1",
    "combined-stage1",
    "combined-stage2",
    "combined",
    "shape",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("measured", type=Path, nargs="?", help="what suite_table measured")
    parser.add_argument("rows", type=Path, nargs="?", help="the rows file to write instead")
    arguments = parser.parse_args()
    if arguments.measured is None:
        with atomic_write(FOLDER / "methods.md") as temporary:
            temporary.write_text(page(), encoding="utf-8")
        return
    if arguments.rows is None:
        parser.error("name the rows file to write, too")
    measured = read_results(arguments.measured)
    write_results(arguments.rows, [row_of(asset, asset["metrics"]) for asset in measured])


def page() -> str:
    """The page of the rows in metrics/experiments."""
    rows = {name: read_results(FOLDER / f"{name}.jsonl") for name in NAMES}
    kept = rows["kept-stage1"]
    early = [row for row in kept if row["variant"].endswith(EARLY)]
    late = [row for row in kept if not row["variant"].endswith(EARLY)]
    sections = {
        "Stage 1 on test prompts: targets-stage1": rows["targets-stage1"],
        "Stage 2 on test prompts: targets-stage2": rows["targets-stage2"],
        "Stage 1 at equal time: times-stage1": rows["times-stage1"],
        "Stage 2 at equal time: times-stage2": rows["times-stage2"],
        "Stage 1: methods-stage1": rows["methods-stage1"],
        "Stage 2: methods-stage2": rows["methods-stage2"],
        "Kept targets and less guidance, after both stages: kept-stage1": late
        + only(rows["methods-stage2"]),
        "The same after stage 1": early + only(rows["methods-stage1"]),
        "Stage 1 from the default it led to: combined-stage1": rows["combined-stage1"],
        "Stage 2 from there: combined-stage2": rows["combined-stage2"],
        "The best of both, two seeds, through both stages: combined": rows["combined"],
        "The regulariser, one noise level, the latent prior in stage 1: shape": rows["shape"],
    }
    parts = [f"\n## {heading}\n\n{methods_table(found)}\n" for heading, found in sections.items()]
    return ABOUT + "".join(parts)


def only(rows: list[Row], variant: str = REFERENCE) -> list[Row]:
    """One variant's rows."""
    return [row for row in rows if row["variant"] == variant]


def methods_table(rows: list[Row], reference: str = REFERENCE) -> str:
    """Markdown: a line a variant, the best chamfer first, with p against the reference."""
    lines = {
        variant: [variant, len(only(rows, variant))]
        + [_cell(rows, variant, reference, metric) for metric in METRICS]
        + [_spread(rows, variant)]
        for variant in dict.fromkeys(row["variant"] for row in rows)
    }
    ranked = sorted(lines, key=lambda variant: _mean(rows, variant, "chamfer"))
    return table(["", "n", *METRICS, "seeds"], [lines[variant] for variant in ranked])


def _mean(rows: list[Row], variant: str, metric: str) -> float:
    return fmean(prompt_means(rows, variant, metric).values())


def _spread(rows: list[Row], variant: str) -> str:
    found = describe(rows, variant, "chamfer")
    assert found is not None
    return "-" if found["seed_spread"] is None else f"{found['seed_spread']:.4f}"


def _cell(rows: list[Row], variant: str, reference: str, metric: str) -> str:
    digits = 4 if metric in ("chamfer", "colour_error") else 3
    value = f"{_mean(rows, variant, metric):.{digits}f}"
    paired = None if variant == reference else compare(rows, variant, reference, metric)
    return f"{value} ({paired['p']:.4f})" if paired else value


if __name__ == "__main__":
    main()
