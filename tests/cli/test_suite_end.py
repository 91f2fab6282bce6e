"""What a suite says at its end; the assets themselves are made in tests/flow."""

from contextlib import nullcontext

import pytest

import flows.suite
from stabledreamer.cli.main import main
from stabledreamer.runtime import server


@pytest.mark.parametrize("made", [0, 1])
def test_a_suite_says_how_to_look_at_it(made, tmp_path, monkeypatch, capsys):
    failure = {"prompt": "a hat", "seed": 0, "error": "no room"}
    summary = {"assets": [{}] * made, "failures": [failure] * (1 - made)}
    monkeypatch.setattr(server, "prefect_server", nullcontext)
    monkeypatch.setattr(flows.suite, "suite", lambda *given, **named: summary)
    (tmp_path / "toys.yaml").write_text("- a hat\n")
    out = tmp_path / "my toys"
    assert main(["suite", str(tmp_path / "toys.yaml"), "--out", str(out)]) == 1 - made
    said = capsys.readouterr().out
    assert (f"all on one picture: {out / 'contact_sheet.png'}" in said) == bool(made)
    assert (f"stabledreamer view '{out}'" in said) == bool(made)
