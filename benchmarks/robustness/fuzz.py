"""How many hostile inputs were tried, and what became of them.

python -m benchmarks.robustness.fuzz --minutes 5              all targets, in turn
python -m benchmarks.robustness.fuzz --only ply --index 17    one input again, as it was

An input is accepted or refused with one clear line (UserError). Anything else is an escape: another
exception, more than 10 s or 2 GB, a file written outside its folder, a process started, a pickle
opened. Exit code 1 if there was one.
"""

import argparse
import importlib
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.robustness import fuzz_folders
from benchmarks.robustness.fuzz_targets import TARGETS
from benchmarks.robustness.fuzz_watch import Outcome, watch

ROOT = Path(__file__).resolve().parents[2]


def try_one(name: str, seed: int, index: int) -> Outcome:
    """Make input `index` of a target and watch it being read."""
    rng = random.Random(f"{name} {seed} {index}")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as outer, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(outer) / "inside"
        folder.mkdir()
        return watch(TARGETS[name](rng, folder), folder)


def tiny_priors(folder: Path) -> list[Path]:
    """The tests' tiny priors of every family, saved below `folder`."""
    sys.path.insert(0, str(ROOT))
    tiny: Any = importlib.import_module("tests.tiny_families")
    for name in tiny.BUILDERS:
        tiny.save(name, folder / name)
    return [folder / name for name in tiny.BUILDERS]


def main() -> int:
    """Try inputs until the time is up; a table, and every escape with the way to repeat it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(TARGETS))
    parser.add_argument("--index", type=int)
    args = parser.parse_args()
    names = [args.only] if args.only else list(TARGETS)
    counts = {name: Counter[str]() for name in names}
    slowest, escapes = dict.fromkeys(names, 0.0), []
    with tempfile.TemporaryDirectory() as place:
        fuzz_folders.PRIORS[:] = tiny_priors(Path(place))
        if args.index is not None:
            print(try_one(names[0], args.seed, args.index))
            return 0
        deadline, spent = time.monotonic() + 60.0 * args.minutes, dict.fromkeys(names, 0.0)
        while time.monotonic() < deadline:
            name = min(names, key=lambda each: spent[each])  # each target has its share of time
            index, began = sum(counts[name].values()), time.monotonic()
            outcome = try_one(name, args.seed, index)
            spent[name] += time.monotonic() - began
            counts[name][outcome.kind] += 1
            slowest[name] = max(slowest[name], outcome.seconds)
            if outcome.kind == "ESCAPE":
                escapes.append(f"--only {name} --seed {args.seed} --index {index}")
                print(f"ESCAPE {escapes[-1]}: {outcome.detail}", flush=True)
    print(
        f"{'target':12s}{'inputs':>9s}{'accepted':>10s}{'refused':>9s}{'escapes':>9s}{'slowest':>10s}"
    )
    for name in names:
        found = counts[name]
        print(
            f"{name:12s}{sum(found.values()):9d}{found['accepted']:10d}{found['refused']:9d}"
            f"{found['ESCAPE']:9d}{slowest[name]:8.2f} s"
        )
    print(f"{sum(sum(found.values()) for found in counts.values())} inputs, {len(escapes)} escapes")
    return 1 if escapes else 0


if __name__ == "__main__":
    sys.exit(main())
