"""What a suite's pace is said to be."""

import argparse
import re
import sys
from pathlib import Path

import pytest

from benchmarks.speed import scaling
from benchmarks.speed.scaling import measure, neighbours, rate, table


def row(size: int, assets: int, seconds: float, first: float) -> dict:
    step = (seconds - first) / (assets - 1)
    ends = [first + step * index for index in range(assets)]
    return {"size": size, "asked": assets, "seconds": seconds, "ends": ends, "exit_code": 0}


def test_rates_and_efficiency_of_made_up_suites() -> None:
    one, two = row(1, 60, 600.0, 10.0), row(2, 108, 600.0, 65.0)
    assert rate(one) == pytest.approx(360.0)
    text = table([one, two], "GPUs").splitlines()
    assert text[2] == "| 1 | 60 of 60 | 600 | 10 | 360 | 360 | 1.00 |"  # 59 in 590 s
    assert text[3] == "| 2 | 108 of 108 | 600 | 65 | 648 | 720 | 0.90 |"  # 107 in 535 s


def test_a_suite_that_made_nothing_is_a_row_all_the_same() -> None:
    nothing = {"size": 1, "asked": 4, "seconds": 9.0, "ends": [], "exit_code": 1}
    assert "| 1 | 0 of 4 | 9 | - | 0 | nan | 0.00 |" in table([nothing], "threads")


@pytest.mark.parametrize("heeds", [True, False])
def test_a_suite_over_its_limit_is_stopped_and_still_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heeds: bool
) -> None:
    """One that heeds SIGTERM, and one that does not."""
    python = tmp_path / "python"
    trap = "" if heeds else "trap '' TERM; "
    python.write_text(f"#!/bin/sh\n{trap}exec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(scaling, "DYING_S", 1.0)
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("prompts: [a red bear, a blue car]\n")
    arguments = argparse.Namespace(prompts=prompts, gpus=None, limit=1.0)
    found = measure(arguments, [], 2, 3, 0, tmp_path / "size-2")
    assert (found["asked"], found["exit_code"], found["ends"]) == (4, None, [])
    assert 0.9 < found["seconds"] < 20.0


def test_threads_of_a_core_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight processors on four cores, numbered as Linux does: the second threads come last."""
    real = Path.read_text

    def read_text(path: Path) -> str:
        found = re.search(r"cpu(\d+)/topology", str(path))
        return f"{int(found[1]) % 4},{int(found[1]) % 4 + 4}\n" if found else real(path)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert neighbours(set(range(8))) == [0, 4, 1, 5, 2, 6, 3, 7]
    assert neighbours({3, 5, 1, 7}) == [1, 5, 3, 7]
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert neighbours(set(range(8))) == list(range(8))
