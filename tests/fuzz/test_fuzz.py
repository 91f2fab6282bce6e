"""Hostile inputs, searched for: each is accepted or refused in one line, and touches nothing else.

`python -m benchmarks.robustness.fuzz --minutes 5` tries more of the same; docs/security.md has its
figures.
"""

import contextlib
import os
import pickle
from pathlib import Path

import pytest

from benchmarks.robustness import fuzz_folders
from benchmarks.robustness.fuzz import try_one
from benchmarks.robustness.fuzz_targets import TARGETS
from benchmarks.robustness.fuzz_values import pickled
from benchmarks.robustness.fuzz_watch import watch
from stabledreamer_core.errors import UserError

# Which inputs, so that all take about 15 s; a campaign begins with the same ones.
TRIED = dict.fromkeys(TARGETS, 60) | {"prior": 12, "params": 20, "set": 200, "asset": 20}


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_escapes(name: str, tiny_if: Path, tiny_sd: Path) -> None:
    fuzz_folders.PRIORS[:] = [tiny_if, tiny_sd]
    outcomes = {index: try_one(name, 1, index) for index in range(TRIED[name])}
    escapes = {index: one.detail for index, one in outcomes.items() if one.kind == "ESCAPE"}
    again = f"python -m benchmarks.robustness.fuzz --only {name} --seed 1 --index N"
    assert not escapes, f"{again}: {escapes}"
    kinds = {one.kind for one in outcomes.values()}
    assert kinds == {"accepted", "refused"} or name == "state"  # which falls back to a good one


def _opens_a_pickle() -> None:
    with contextlib.suppress(Exception):
        pickle.loads(pickled().replace(b"touch escaped", b"true         "))


def _refuses() -> None:
    raise UserError("this is what is wrong")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: None, "accepted"),
        (_refuses, "refused"),
        (lambda: [][1], "ESCAPE"),
        (_opens_a_pickle, "ESCAPE"),
        (lambda: bytearray(2**33), "ESCAPE"),
        (lambda: os.system("true"), "ESCAPE"),
    ],
)
def test_the_watch_sees_what_it_should(call, kind: str, tmp_path: Path) -> None:
    assert watch(call, tmp_path).kind == kind


def test_the_watch_sees_writes_outside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    writes = {
        "inside/a": "accepted",
        "inside/../b": "ESCAPE",
        "inside/link/c": "ESCAPE",
        "d": "ESCAPE",
    }
    for name, kind in writes.items():
        assert watch(lambda at=tmp_path / name: at.write_text("x"), inside).kind == kind, name
    assert watch(lambda: os.replace(inside / "a", tmp_path / "a"), inside).kind == "ESCAPE"


def test_the_watch_ends_what_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.robustness.fuzz_watch.LIMIT_S", 0.2)

    def spin() -> None:
        while True:
            with contextlib.suppress(Exception):
                pass

    assert watch(spin, tmp_path).detail.startswith("Hung")
