"""What people get wrong on the command line: one line on stderr, exit 2, nothing made."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stabledreamer.cli.main import main
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.errors import UserError
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.output import Mesh

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
        (["view", "outputs", "more"], "too many words: more"),
        (["dream", "a", "red", "baer", "--seed", "3"], "'a red baer' (did you mean bear?)"),
        (["dream", "a baer with a scraf"], "(did you mean bear?)"),
        (["dream", "a red bear", "--sed", "3"], "Did you mean --seed"),
        (["dream"], "say what to make"),
        (["dream", "--quick"], "say what to make"),
        (["dream", ""], "empty"),
        (["dream", "   "], "empty"),
        (["dream", "bear " * 100], "characters"),
        (["dream", "a marble statue of a wizard"], "they know: bear"),
        (["dream", "a red bear", "--seed", "x"], "--seed"),
        (["dream", "a red bear", "--seed", "-1"], "--seed"),
        (["dream", "a red bear", "--seed", "1.5"], "--seed"),
        (["dream", "a red bear", "--set", "stage1.iterations"], "section.key=value"),
        (["dream", "a red bear", "--set", "stage1.iteration=3"], "stage1.iteration"),
        (["dream", "a red bear", "--set", "mesh.txture=true"], "(did you mean mesh.texture?)"),
        (["dream", "a red bear", "--set", "mehs.texture=true"], "(did you mean mesh.texture?)"),
        (["dream", "a red bear", "--set", "texture=true"], "(did you mean mesh.texture?)"),
        (["dream", "a red bear", "--set", "mesh={texture: {deep: 1}}"], "mesh.texture"),
        (["dream", "a red bear", "--set", f"{'x' * 10_000}=1"], "unknown setting xxx"),
        (["dream", "a red bear", "--set", "stage1.iterations=many"], "stage1.iterations"),
        (["dream", "a red bear", "--set", "=3"], "section.key=value"),
        (["dream", "a red bear", "--params", "gone.yaml"], "gone.yaml"),
        (["dream", "a red bear", "--set", "stage1.prior=/gone/prior"], "/gone/prior"),
        (["dream", "a red bear", "--nonsense"], "--nonsense"),
        (["dream", "a red bear", "--preset", "opne"], "did you mean open"),
        (["dream", "a red bear", "--preset", "open", "--quick"], "itself a preset"),
        (["dream", "a red bear", "--set", "stage1.embeddings=gone"], "priors embed"),
        (["dream", "a red bear", "--set", "stage1.prior=sd15"], "stable-diffusion-v1-5"),
        (["settings", "txture"], "did you mean texture"),
        (["settings", ""], "no setting is called ''"),
        (["settings", "../params"], "lists the sections"),
        (["settings", "mesh", "--preset", "opne"], "did you mean open"),
        (["settings", "mesh", "--set", "mesh.txture=1"], "did you mean mesh.texture"),
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


@pytest.mark.parametrize(
    "command", [[], ["dream"], ["suite"], ["debug"], ["evaluate"], ["view"], ["settings"]]
)
def test_help_shows_examples(command, capsys):
    code, out, _ = run([*command, "--help"], capsys)
    assert code == 0
    assert "example" in out and f"stabledreamer {' '.join(command)}".strip() in out


def test_without_a_command_it_says_what_there_is(capsys):
    code, out, _ = run([], capsys)
    assert code == 0 and "make a 3d asset from a sentence" in out.lower() and "evaluate" in out
    welcome, _, rest = out.partition("Usage:")
    assert "Welcome" in welcome and shlex.join(["dream", "a red bear", "--quick"]) in welcome
    assert run(["--help"], capsys)[1] == run(["help"], capsys)[1] == f"Usage:{rest}"


def test_help_of_a_command_in_either_order(capsys):
    assert run(["help", "view"], capsys) == run(["view", "--help"], capsys)


def test_an_unquoted_prompt_is_one_prompt(monkeypatch, capsys):
    """Its words may stand before, between and after options."""
    from tasks import checks

    asked = []

    def prepare(request):
        asked.append((request.prompt, request.seed, request.quick))
        raise UserError("that will do")

    monkeypatch.setattr(checks, "prepare", prepare)
    for words in (
        ["a red bear", "--seed", "3", "--quick"],
        ["a", "red", "bear", "--seed", "3", "--quick"],
        ["--quick", "a", "red", "--seed", "3", "bear"],
        ["--seed", "3", "--quick", "--", "a red bear"],
    ):
        assert run(["dream", *words], capsys)[0] == 2
    assert asked == [("a red bear", 3, True)] * 4


def test_words_that_the_bundled_priors_lack_are_told_with_what_was_meant(capsys):
    from tasks.checks import check_words

    check_words("a rde bear wearing a scraf and sunglasses")
    told = capsys.readouterr().err
    assert "rde (did you mean red?), scraf (did you mean scarf?), sunglasses (they know" in told


def test_settings_lists_the_sections_and_every_key_of_one(capsys):
    code, out, _ = run(["settings"], capsys)
    assert code == 0 and all(f"\n{name} " in f"\n{out}" for name in Config.model_fields)
    code, out, _ = run(["settings", "mesh"], capsys)
    keys = [line.split(" = ")[0] for line in out.splitlines() if not line.startswith(" ")]
    assert code == 0 and keys == [f"mesh.{name}" for name in Mesh.model_fields]
    assert max(map(len, out.splitlines())) <= 100


def test_settings_finds_a_word_and_shows_what_a_preset_changes(capsys):
    assert "mesh.texture = true   (true or false)" in run(["settings", "TEXTURE"], capsys)[1]
    out = run(["settings", "stage1.iterations", "--quick"], capsys)[1]
    assert out.startswith("stage1.iterations = 400   (0 to 1000000; default 900)\n")


def test_every_setting_takes_its_default_back(capsys):
    """What `settings` prints for a key is what --set takes for it."""
    out = run(["settings", "."], capsys)[1]
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    shown = [line.split("   (")[0].replace(" = ", "=", 1) for line in lines]
    assert len(shown) > 100 and load_config(overrides=shown) == load_config()


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
