"""A search started again makes what is missing or was made otherwise, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.claims import suite_table
from benchmarks.search.make_assets import MADE_BY, jobs_of, missing
from stabledreamer.runtime.root import ROOT
from tasks import keys

SEARCH = {
    "seeds": [0, 1],
    "prompts": ["a red bear", "a blue car"],
    "recipes": {"plain": [], "fewer": ["stage1.iterations=3"]},
}


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


def finish(out: Path, jobs: list[dict[str, Any]]) -> None:
    out.mkdir(exist_ok=True)
    with open(out / "results.jsonl", "a") as file:
        file.writelines(json.dumps({**job, "seconds": 1.0}) + "\n" for job in jobs)


def test_what_is_done_is_not_done_again(tmp_path: Path):
    jobs = jobs_of(SEARCH)
    assert len(missing(jobs, tmp_path)) == len(jobs) == 8
    finish(tmp_path, jobs[:3])
    assert missing(jobs, tmp_path) == jobs[3:]


def test_changed_settings_are_made_again_under_the_same_name(tmp_path: Path, capsys):
    finish(tmp_path, jobs_of(SEARCH))
    changed = jobs_of({**SEARCH, "recipes": {**SEARCH["recipes"], "fewer": ["stage1.views=1"]}})
    again = missing(changed, tmp_path)
    assert [job["recipe"] for job in again] == ["fewer"] * 4
    assert "4 results of other settings" in capsys.readouterr().out
    left = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [result["recipe"] for result in left] == ["plain"] * 4


def test_changed_code_makes_everything_again(tmp_path: Path, monkeypatch):
    finish(tmp_path, jobs_of(SEARCH))
    monkeypatch.setattr(keys, "code_hash", lambda *packages: "other code")
    jobs_of.__globals__["_content"].cache_clear()
    try:
        assert len(missing(jobs_of(SEARCH), tmp_path)) == 8
    finally:
        jobs_of.__globals__["_content"].cache_clear()


def test_changed_code_of_measuring_makes_nothing_again(tmp_path: Path, monkeypatch):
    """Unless the search scores what it makes."""
    scored = (*MADE_BY, "evaluate")
    finish(tmp_path / "made", jobs_of(SEARCH))
    finish(tmp_path / "scored", jobs_of(SEARCH, steps=scored))
    code = keys.code_hash
    monkeypatch.setattr(
        keys, "code_hash", lambda root: "new" if root == keys.MEASURE else code(root)
    )
    jobs_of.__globals__["_content"].cache_clear()
    try:
        assert missing(jobs_of(SEARCH), tmp_path / "made") == []
        assert len(missing(jobs_of(SEARCH, steps=scored), tmp_path / "scored")) == 8
    finally:
        jobs_of.__globals__["_content"].cache_clear()


def test_results_of_recipes_that_are_not_asked_for_stay(tmp_path: Path):
    finish(tmp_path, jobs_of(SEARCH))
    assert missing(jobs_of(SEARCH, only=["plain"]), tmp_path) == []
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 8


def test_another_start_of_stage_2_is_another_result(tmp_path: Path):
    search = {**SEARCH, "prompts": ["a red bear"], "seeds": [0], "recipes": {"plain": []}}
    start = tmp_path / "red-bear-s0-1.ply"
    start.write_bytes(b"one")
    finish(tmp_path, jobs_of(search, stage1=tmp_path))
    assert missing(jobs_of(search, stage1=tmp_path), tmp_path) == []
    start.write_bytes(b"another")
    assert len(missing(jobs_of(search, stage1=tmp_path), tmp_path)) == 1


def test_what_was_measured_otherwise_is_measured_again(tmp_path: Path):
    finish(tmp_path, jobs_of(SEARCH))
    todo = suite_table.unmeasured(tmp_path, tmp_path / "measured.jsonl")
    assert len(todo) == 8
    (tmp_path / "measured.jsonl").write_text("".join(json.dumps(one) + "\n" for one in todo))
    assert suite_table.unmeasured(tmp_path, tmp_path / "measured.jsonl") == []
    finish(tmp_path, [{**todo[0], "key": "made again"}])
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    (tmp_path / "results.jsonl").write_text("\n".join(lines[1:]) + "\n")
    (again,) = suite_table.unmeasured(tmp_path, tmp_path / "measured.jsonl")
    assert again["key"] == "made again"
    assert len((tmp_path / "measured.jsonl").read_text().splitlines()) == 7


def test_what_both_stages_left_is_measured_twice(tmp_path: Path):
    """An asset of stage 1 alone, one of both, and one whose stage 1 was made elsewhere."""
    recipes = {"first": ["stage2.iterations=0"], "both": [], "second": []}
    search = {**SEARCH, "prompts": ["a red bear"], "seeds": [0], "recipes": recipes}
    finish(tmp_path, jobs_of(search))
    for ply in ("first/red-bear-s0-1", "both/red-bear-s0-1", "both/red-bear-s0-2"):
        (tmp_path / f"plys/{ply}.ply").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"plys/{ply}.ply").touch()
    todo = suite_table.unmeasured(tmp_path, tmp_path / "measured.jsonl", stage1=True)
    assert {one["recipe"]: one["ply"] for one in todo} == {
        "first": "plys/first/red-bear-s0-1.ply",
        "both": "plys/both/red-bear-s0-2.ply",
        "second": "plys/second/red-bear-s0-2.ply",
        "both-1": "plys/both/red-bear-s0-1.ply",
    }


@pytest.mark.slow  # 45 s; what it rests on, the keys, is tested above
def test_the_command_runs_what_changed_alone(tmp_path: Path):
    search = {
        "seeds": [0],
        "prompts": ["a red bear"],
        "base": ["stage1.iterations=2", "stage2.iterations=0"],
        "recipes": {"few": ["gaussians.count=40"]},
    }
    file, out = tmp_path / "search.yaml", tmp_path / "out"

    def run(recipe: list[str]) -> dict[str, Any]:
        file.write_text(yaml.safe_dump({**search, "recipes": {"few": recipe}}))
        command = [sys.executable, "-m", "benchmarks.search.make_assets", str(file)]
        subprocess.run([*command, "--out", str(out)], check=True, cwd=ROOT, capture_output=True)
        (line,) = (out / "results.jsonl").read_text().splitlines()
        return json.loads(line)

    first = run(["gaussians.count=40"])
    assert run(["gaussians.count=40"]) == first
    second = run(["gaussians.count=60"])
    assert second["key"] != first["key"] and second["loss1"] != first["loss1"]
