"""The tables of an experiment beside the benchmarks: means, spreads and paired tests.

    python -m benchmarks.recipe_search benchmarks/faces.yaml --out outputs/faces --keep --unscored
    python -m benchmarks.suite_table outputs/faces
    python -m benchmarks.compare benchmarks/faces.yaml outputs/faces

The YAML file's `claims` name two recipes each, as those of benchmark-gpu.yaml do; the figures are
those of benchmark_tables.py.
"""

import argparse
import json
from pathlib import Path

from benchmarks.benchmark_rows import Row, read_settings
from benchmarks.benchmark_tables import markdown, summarise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, help="recipes and claims")
    parser.add_argument("out", type=Path, help="what suite_table.py measured")
    arguments = parser.parse_args()
    rows = measured_rows(arguments.out / "measured.jsonl")
    print(markdown(summarise(rows, read_settings(arguments.file)["claims"])), end="")


def measured_rows(file: Path) -> list[Row]:
    """suite_table.py's assets as the rows that benchmark_statistics.py takes."""
    assets = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [
        {"variant": asset["recipe"]} | {name: asset[name] for name in ("prompt", "seed", "metrics")}
        for asset in assets
    ]


if __name__ == "__main__":
    main()
