"""The commands settle where Prefect's files lie, whatever the caller's environment lacks."""

import os
import subprocess
import sys

import pytest

from stabledreamer.runtime.root import ROOT

BARE = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


@pytest.mark.parametrize("module", ["tasks.checks", "stabledreamer.cli.main", "flows.dream"])
def test_prefect_has_a_home_in_a_bare_environment(module: str) -> None:
    program = f"import {module}, os; print(os.environ['PREFECT_HOME'])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=BARE, capture_output=True, text=True)
    assert done.stdout.strip() == str(ROOT / ".cache" / "prefect"), done.stderr


def test_dream_looks_at_everything_before_it_begins(tmp_path) -> None:
    """Up to the last check, which is of the folders' disks: nothing there may be missing."""
    program = (
        "from tasks.checks import prepare; from tasks.job import Request; "
        "print(prepare(Request('a red bear', out='asset')).out)"
    )
    environment = {**BARE, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "asset", done.stderr
