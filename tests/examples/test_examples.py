"""The examples run as they stand, and make what they say; cut short but for the slow test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from stabledreamer.runtime.root import ROOT

MINIMAL = ROOT / "examples" / "minimal.py"
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def run(program: str, folder: Path, *arguments: str) -> None:
    """Run a program in a folder that has the bundled priors."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    for name in ("priors", "params"):
        (folder / name).symlink_to(ROOT / name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "program.py", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def shortened(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def test_minimal_fits_a_page() -> None:
    assert len(MINIMAL.read_text().splitlines()) <= 100


def test_minimal_runs(tmp_path: Path) -> None:
    program = shortened(
        MINIMAL.read_text(), "TARGETS, REUSE, VIEWS = 150, 3, 2", "TARGETS, REUSE, VIEWS = 4, 3, 2"
    )
    run(program, tmp_path, "a blue car")
    assert (tmp_path / "minimal.ply").read_bytes().startswith(b"ply")
    with Image.open(tmp_path / "minimal.png") as picture:
        assert picture.width > 1000


@pytest.mark.slow
def test_minimal_makes_the_toy_that_was_asked_for(tmp_path: Path) -> None:
    """The judge, which never saw a Gaussian in its training, says what it is."""
    import torch

    from stabledreamer.runtime.settings import load_config
    from stabledreamer_core.assets.splats.ply import load_ply
    from toybox.metrics.evaluate import evaluate

    run(MINIMAL.read_text(), tmp_path)
    splats, settings = load_ply(tmp_path / "minimal.ply"), load_config().evaluate
    prompt = "a red bear wearing a top hat"
    metrics = evaluate(splats, prompt, settings, torch.device("cpu"))
    assert metrics["category"] >= 0.75 and metrics["colour"] == 1.0
    assert metrics["accessory"] >= 0.75 and metrics["view"] >= 0.75


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 5
    short = '"stage1.iterations=8", "stage2.iterations=3", "turntable.frames=4"'
    code[0] = shortened(code[0], '"debug.every=80"', f'"debug.every=4", {short}')
    run("\n".join(code), tmp_path)
    for name in ("gaussians.ply", "turntable.mp4", "preview.png", "steps.png"):
        assert (tmp_path / "quickstart" / name).stat().st_size > 1000, name
