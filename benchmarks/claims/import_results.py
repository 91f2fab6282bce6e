"""Lay results of a search on another machine out as benchmarks/gpu/dvc.yaml would have left them.

    python -m benchmarks.claims.import_results outputs/search
    dvc commit -f benchmarks/gpu/dvc.yaml

The folder has the results.jsonl and plys/ of make_assets over all of benchmarks/claims/gpu.yaml,
and suite_table's measured.jsonl. Pictures stay where they are. Without plys/, which are large, the
tables can be made and dvc.lock cannot.
"""

import argparse
import json
import shutil
from pathlib import Path

from benchmarks.claims.rows import GPU, GPU_OUT, read_settings
from stabledreamer_core.files import atomic_write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    settings = read_settings(GPU)
    expected = len(settings["prompts"]) * len(settings["seeds"])
    for variant in settings["recipes"]:
        found = bring(folder, variant)
        if found != expected:
            print(f"{variant}: {found} results, not {expected}")


def bring(folder: Path, variant: str, out: Path = GPU_OUT) -> int:
    """Copy one variant's results, Gaussians and measurements; returns how many results it has."""
    lines = _lines(folder / "results.jsonl", variant)
    _write(out / variant / "results.jsonl", lines)
    made = folder / "plys" / variant
    if made.is_dir():
        shutil.copytree(made, out / variant / "plys" / variant, dirs_exist_ok=True)
    measured = _lines(folder / "measured.jsonl", variant)
    if measured:
        _write(out / "measured" / f"{variant}.jsonl", measured)
    return len(lines)


def _lines(file: Path, variant: str) -> list[str]:
    """The lines of one variant, in the order of prompts and seeds rather than of arrival."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    mine = [line for line in text.splitlines() if json.loads(line)["recipe"] == variant]
    return sorted(mine, key=lambda line: (json.loads(line)["prompt"], json.loads(line)["seed"]))


def _write(path: Path, lines: list[str]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
