"""The verdict on a repetition, where the answer is known."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.claims.verdict import EQUAL, NOT, WITHIN, rows_of, verdicts
from stabledreamer.runtime.root import ROOT

# Seeds move the first prompt's chamfer by .02, the other's by .01, and the view not at all. Of the
# other variants one's chamfer moves by .005 and one's not.
SEEDS = """variant,prompt,seed,category,colour,accessory,view,view_exact,multi_face,frontal,\
r_precision,chamfer,f_score,normal_consistency,colour_error,detail
default,a bear,0,,,,1.0,,,,,0.05,,,,
default,a cat,0,,,,1.0,,,,,0.03,,,,
default,a bear,1,,,,1.0,,,,,0.07,,,,
default,a cat,1,,,,1.0,,,,,0.04,,,,
middle,a bear,0,,,,,,,,,0.02,,,,
middle,a bear,1,,,,,,,,,0.025,,,,
calm,a bear,0,,,,,,,,,0.04,,,,
calm,a bear,1,,,,,,,,,0.04,,,,
"""
PUBLISHED = {"default": {"view": {"mean": 1.0}, "chamfer": {"mean": 0.04}}}


def of(view: float | None, chamfer: float | None) -> dict[str, str]:
    means = {"view": view, "chamfer": chamfer}
    here = {"default": {m: {"mean": mean} for m, mean in means.items() if mean is not None}}
    return {line["metric"]: line["verdict"] for line in verdicts(PUBLISHED, here, rows_of(SEEDS))}


@pytest.mark.parametrize(
    ("chamfer", "answer"),
    [(0.04, EQUAL), (0.0599, WITHIN), (0.0201, WITHIN), (0.0601, NOT), (0.0199, NOT), (None, NOT)],
)
def test_a_mean_may_move_as_far_as_two_seeds_of_a_prompt_are_apart(chamfer, answer):
    assert of(1.0, chamfer) == {"view": EQUAL, "chamfer": answer}


@pytest.mark.parametrize(("chamfer", "answer"), [(0.0449, WITHIN), (0.0451, NOT)])
def test_where_seeds_agree_by_chance_the_middle_variant_tells(chamfer, answer):
    published, here = ({"calm": {"chamfer": {"mean": mean}}} for mean in (0.04, chamfer))
    (line,) = verdicts(published, here, rows_of(SEEDS))
    assert line["verdict"] == answer


def test_what_no_seed_moves_may_not_move():
    assert of(0.96875, 0.04) == {"view": NOT, "chamfer": EQUAL}


def test_a_variant_that_is_missing_is_told():
    assert {line["verdict"] for line in verdicts(PUBLISHED, {}, rows_of(SEEDS))} == {NOT}


@pytest.mark.parametrize(
    ("chamfer", "status", "told"),
    [
        (0.04, 0, "2 published means: 2 equal, 0 within the spread over seeds, 0 not"),
        (0.05, 0, "0.0400     0.0500     0.0200  within the spread over seeds"),
        (0.09, 1, "Outside the spread over seeds: default chamfer"),
    ],
)
def test_the_command_compares_with_what_git_has(tmp_path: Path, chamfer, status, told):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/assets.csv").write_text("\n".join(SEEDS.splitlines()[:3]))
    (tmp_path / "metrics/summary.json").write_text(json.dumps({"variants": PUBLISHED}))
    (tmp_path / "metrics/seeds.csv").write_text(SEEDS)
    user = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*user, "commit", "-qm", "published"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    here = {"default": {**PUBLISHED["default"], "chamfer": {"mean": chamfer}}}
    (tmp_path / "metrics/summary.json").write_text(json.dumps({"variants": here}))
    (tmp_path / "metrics/assets.csv").write_text("of this run\n")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.claims.verdict"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, told in done.stdout + done.stderr) == (status, True), done


def test_the_published_assets_are_of_the_variants_that_other_seeds_are_of():
    """So no published mean lacks its spread."""
    published, others = ((ROOT / f"metrics/{n}.csv").read_text() for n in ("assets", "seeds"))
    assets = [
        {(row["variant"], row["prompt"]) for row in rows_of(text)} for text in (published, others)
    ]
    assert assets[0] == assets[1]
    assert not {row["seed"] for row in rows_of(others)} & {
        row["seed"] for row in rows_of(published)
    }
