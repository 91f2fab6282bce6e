"""The three strengths of biased priors: settings that training takes, as the page says them."""

import shlex
from pathlib import Path

import pytest

from benchmarks.claims.biased_priors import FILE, commands
from benchmarks.claims.rows import read_settings
from stabledreamer.runtime.root import ROOT
from toybox.training.__main__ import _parser
from toybox.training.settings import SETTINGS, load_training


def test_the_three_strengths_are_settings_that_training_takes() -> None:
    settings = read_settings(FILE)
    trained = [load_training(SETTINGS, overrides) for overrides in settings["priors"].values()]
    named = [1.0 - one.captions.plain for one in trained]
    fronts, wrong = zip(*((one.front_share, one.captions.wrong) for one in trained), strict=True)
    assert list(fronts) == sorted(set(fronts))
    assert list(wrong) == sorted(set(wrong))
    assert named == sorted(set(named), reverse=True)
    for one, share in zip(trained, named, strict=True):
        assert one.captions.coarse == pytest.approx(share / 2)


def test_the_page_and_the_commands_say_the_settings() -> None:
    settings = read_settings(FILE)
    page = (ROOT / "docs/toybox.md").read_text()
    for name, line in zip(
        settings["priors"], commands(settings, list(settings["priors"])), strict=True
    ):
        options = _parser().parse_args(shlex.split(line)[3:])
        assert options.set == [*settings["priors"][name], f"pixel.optim.steps={settings['steps']}"]
        assert options.out == Path(f"priors-{name}")
        one = load_training(SETTINGS, options.set)
        shares = one.front_share, 1.0 - one.captions.plain, one.captions.wrong
        row = [name, *(f"{share:.2f}".strip("0") for share in shares)]
        assert f"| {' | '.join(row)} |" in page
