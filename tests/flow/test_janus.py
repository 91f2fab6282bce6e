"""The Janus benchmark made small: its files, the leaderboard, and what is not made twice."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from stabledreamer.cli.main import main
from stabledreamer.runtime import server
from toybox.captions import caption
from toybox.janus import leaderboard
from toybox.janus.toys import janus_toys


@pytest.fixture
def clone(tmp_path: Path, monkeypatch) -> Path:
    """A place for a leaderboard of its own."""
    root = tmp_path / "clone"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "janus.md").write_text(
        f"before\n{leaderboard.BEGIN}\n{leaderboard.END}\nend\n"
    )
    monkeypatch.setattr(leaderboard, "ROOT", root)
    return root


def test_a_run_leaves_rows_a_summary_and_a_place_on_the_leaderboard(
    prefect, params, tiny_if, clone, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(server, "prefect_server", nullcontext)
    out = tmp_path / "out"
    words = ["bench", "janus", "--prior", str(tiny_if), "--params", str(params), "--out", str(out)]
    words += ["--prompts", "2", "--set", "stage1.iterations=2", "--add-to-leaderboard"]
    assert main([*words, "mine"]) == 0
    said = capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == [caption(toy) for toy in janus_toys()[:2]]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["stage1.iterations"] == 2 and summary["seeds"] == [0]
    assert summary["prior"].endswith(tiny_if.name) and str(tiny_if) not in json.dumps(summary)
    assert summary["stage2_prior"] is None and summary["rates"]["one_face"]["of"] == 2
    assert "2 of 2 toys" in said and "git add" in said
    page = (clone / "docs" / "janus.md").read_text()
    assert page.startswith("before\n") and page.endswith("\nend\n") and page.count("| mine |") == 2

    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert main([*words, "again"]) == 0
    assert made and made == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    capsys.readouterr()
    assert main([*words, "again"]) == 2
