"""What people get wrong on the command line: one line on stderr, exit 2, nothing made."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stabledreamer.cli.main import main

COMMAND = Path(sys.executable).with_name("stabledreamer")


def run(arguments: list[str], capsys) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    try:
        code = main(arguments)
    except SystemExit as leaving:
        code = leaving.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["draem", "a red bear"], 'Did you mean "dream"'),
        (["dream", "a", "red", "bear"], "quotes"),
        (["dream", "a red bear", "--sed", "3"], "Did you mean --seed"),
        (["dream"], "PROMPT"),
        (["dream", ""], "empty"),
        (["dream", "   "], "empty"),
        (["dream", "bear " * 100], "characters"),
        (["dream", "a marble statue of a wizard"], "they know: bear"),
        (["dream", "a red bear", "--seed", "x"], "--seed"),
        (["dream", "a red bear", "--seed", "-1"], "--seed"),
        (["dream", "a red bear", "--seed", "1.5"], "--seed"),
        (["dream", "a red bear", "--set", "stage1.iterations"], "section.key=value"),
        (["dream", "a red bear", "--set", "stage1.iteration=3"], "stage1.iteration"),
        (["dream", "a red bear", "--set", "stage1.iterations=many"], "stage1.iterations"),
        (["dream", "a red bear", "--set", "=3"], "section.key=value"),
        (["dream", "a red bear", "--params", "gone.yaml"], "gone.yaml"),
        (["dream", "a red bear", "--set", "stage1.prior=/gone/prior"], "/gone/prior"),
        (["dream", "a red bear", "--nonsense"], "--nonsense"),
        (["dream", "a red bear", "--preset", "opne"], "did you mean open"),
        (["dream", "a red bear", "--preset", "open", "--quick"], "itself a preset"),
        (["dream", "a red bear", "--set", "stage1.embeddings=gone"], "priors embed"),
        (["dream", "a red bear", "--set", "stage1.prior=sd15"], "stable-diffusion-v1-5"),
        (["suite", "gone.yaml"], "gone.yaml"),
        (["evaluate", "gone"], "gone"),
        (["view", "gone"], "gone"),
        (["export", "gone", "--format", "ply"], "gone"),
        (["export", ".", "--format", "ply"], "no finished asset"),
        (["export", "gone", "--format", "pyl"], "did you mean ply"),
        (["export", "gone"], "which formats"),
    ],
)
def test_one_line_and_exit_2(arguments, word, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(arguments, capsys)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and word in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(capsys, tmp_path):
    out = str(tmp_path / "asset")
    code, _, err = run(["dream", "a red bear", "--set", "device=cuda", "--out", out], capsys)
    assert (code, err.count("\n")) == (2, 1) and "finds no GPU" in err


def test_out_that_is_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("precious")
    code, _, err = run(["dream", "a red bear", "--out", str(tmp_path / "file")], capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert (tmp_path / "file").read_text() == "precious"


def test_the_command_itself_exits_with_2_and_no_traceback(tmp_path):
    done = subprocess.run(
        [COMMAND, "dream", "a marble statue of a wizard"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [[], ["dream"], ["suite"], ["debug"], ["evaluate"], ["view"]])
def test_help_shows_examples(command, capsys):
    code, out, _ = run([*command, "--help"], capsys)
    assert code == 0
    assert "example" in out and f"stabledreamer {' '.join(command)}".strip() in out


def test_without_a_command_it_says_what_there_is(capsys):
    code, out, _ = run([], capsys)
    assert code == 0 and "make a 3d asset from a sentence" in out.lower() and "evaluate" in out


def test_the_version_is_told(capsys):
    from stabledreamer_core import __version__

    assert run(["--version"], capsys)[:2] == (0, f"{__version__}\n")


def test_a_fault_of_ours_is_1(monkeypatch, capsys):
    from stabledreamer.cli import doctor

    def broken(*_):
        raise RuntimeError("oh")

    monkeypatch.setattr(doctor, "examine", broken)
    code, _, err = run(["doctor"], capsys)
    assert code == 1 and "RuntimeError: oh" in err and "fault of StableDreamer" in err


def test_a_full_disk_is_2(monkeypatch, capsys):
    from stabledreamer.cli import doctor

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor, "examine", full)
    code, _, err = run(["doctor"], capsys)
    assert (code, err.count("\n")) == (2, 1) and "disk is full" in err
