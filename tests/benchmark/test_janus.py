"""The Janus benchmark: toys of which the truth is known, intervals in closed form, mistakes."""

import math
from collections import Counter

import pytest
import torch

from stabledreamer.cli.main import main
from stabledreamer.runtime.settings import load_config
from toybox.captions import caption
from toybox.catalogue import Toy
from toybox.heldout import is_heldout
from toybox.janus import leaderboard
from toybox.janus.broken import blurred, faced, posed, without_front
from toybox.janus.summary import by_group, summarize, wilson
from toybox.janus.toys import janus_toys
from toybox.janus.validation import agreement, report
from toybox.janus.verdicts import verdicts
from toybox.metrics.evaluate import evaluate_views
from toybox.metrics.pictures import true_camera

SETTINGS = load_config().evaluate
BEAR = Toy("bear", "red", "top hat", "black")


def test_the_first_toys_are_of_one_category_each_and_none_is_lost() -> None:
    toys = janus_toys()
    assert len(toys) == len(set(toys)) == 129 and all(map(is_heldout, toys))
    assert len({toy.category for toy in toys[:14]}) == 14
    parts = [janus_toys("tune"), janus_toys("test")]
    assert Counter(toys) == Counter(parts[0] + parts[1])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_toy_of_several_faces_shows_its_front_that_often(count: int) -> None:
    azimuths = torch.arange(360.0)
    shown = faced(count)(azimuths)
    assert ((shown >= 0) & (shown < 360)).all()
    assert (shown == 0).nonzero()[:, 0].tolist() == [360 // count * n for n in range(count)]
    near = torch.minimum(shown, 360 - shown)
    assert near.max() == 180 / count, "the sides nearest to the front, and those alone"


def test_a_toy_without_a_front_shows_its_back_half_twice() -> None:
    shown = without_front(torch.arange(360.0))
    assert shown.min() == 90 and shown.max() == 270
    assert (shown == 180).nonzero()[:, 0].tolist() == [0, 180]


@pytest.mark.parametrize(
    ("pose", "wrong"),
    [
        (lambda azimuth_deg: azimuth_deg, set()),
        (faced(2), {"second_face", "too_frontal"}),
        (faced(3), {"second_face", "too_frontal"}),
        (without_front, {"no_front"}),
    ],
)  # fmt: skip
def test_verdicts_are_true_of_the_metrics_of_toys_broken_on_purpose(pose, wrong) -> None:
    """By a camera turned for each picture: nothing of the validation's own short cut."""
    camera = blurred(posed(true_camera(BEAR, SETTINGS.elevation_deg), pose))
    found = verdicts(evaluate_views(camera, caption(BEAR), SETTINGS, torch.device("cpu")))
    assert {name for name, verdict in found.items() if verdict} == (wrong or {"one_face"})


def test_another_thing_and_what_is_not_measured() -> None:
    teapot = true_camera(Toy("teapot", "red"), SETTINGS.elevation_deg)
    found = verdicts(evaluate_views(teapot, caption(BEAR), SETTINGS, torch.device("cpu")))
    assert found["another_thing"] and found["one_face"] is False
    assert set(verdicts({}).values()) == {None}
    assert verdicts({"frontal": 0.25})["one_face"] is False  # two faces, of eight views
    assert verdicts({"frontal": 0.125})["one_face"] is True


def test_validation_agrees_with_truth_and_says_where_not() -> None:
    found = agreement([janus_toys()[3]], SETTINGS)
    assert len(found) == 12
    lines, enough = report(found)
    assert enough and len(lines) == 14
    assert found["two-faced, as it is"]["frontal > 1/4"] == 0.0, "what was missed before"
    found["true, blurred"]["no_front"] = 0.94
    assert not report(found)[1]


@pytest.mark.parametrize(("count", "total"), [(0, 10), (5, 10), (10, 10), (87, 258)])
def test_wilson_ends_are_where_the_score_test_just_rejects(count: int, total: int) -> None:
    """(share - p)^2 = z^2 p (1 - p) / n at each end that is no end of the range."""
    share, z = count / total, 1.959964
    for end in wilson(count, total):
        if 1e-9 < end < 1 - 1e-9:
            score = abs(share - end) / math.sqrt(end * (1 - end) / total)
            assert score == pytest.approx(z, rel=1e-5)
    low, high = wilson(count, total)
    assert low - 1e-9 <= share <= high + 1e-9 and (low, high) == pytest.approx(
        tuple(1 - end for end in reversed(wilson(total - count, total)))
    )


def test_the_bootstrap_of_groups_has_the_quantiles_of_a_binomial() -> None:
    """Of 20 groups of three that agree within, half with: the drawn share is Binomial(20, .5) / 20,
    whose 2.5 % quantile is 6 and 97.5 % quantile is 14."""
    assert by_group([3] * 10 + [0] * 10, [3] * 20) == pytest.approx((6 / 20, 14 / 20))
    assert by_group([1, 2], [2, 4]) == (0.5, 0.5)


def test_rates_count_what_is_measured_and_intervals_heed_categories() -> None:
    bad, good = {"multi_face": 1.0, "frontal": 0.25}, {"multi_face": 0.0, "frontal": 0.125}
    toys = janus_toys()[:14] * 3  # the same seven categories fail with every toy
    rows = [
        {"prompt": caption(toy), "seed": n, "metrics": bad if n % 14 < 7 else good}
        for n, toy in enumerate(toys)
    ]
    rows.append({"prompt": caption(BEAR), "seed": 0, "metrics": {"chamfer": 0.5}})
    summary = summarize(rows)
    rate = summary["rates"]["second_face"]
    assert (rate["count"], rate["of"], rate["rate"]) == (21, 42, 0.5)
    assert rate["low"] < wilson(21, 42)[0] and rate["high"] > wilson(21, 42)[1]
    assert summary["rates"]["one_face"]["rate"] == 0.5
    assert summary["rates"]["another_thing"] is None and summary["means"]["chamfer"] == 0.5
    assert (summary["assets"], summary["toys"]) == (43, 15)


def test_the_page_shows_the_committed_results() -> None:
    page = (leaderboard.ROOT / "docs" / "janus.md").read_text()
    assert leaderboard.leaderboard() in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--prior FOLDER"),
        (["--prior", "priors/nothing"], "no prior at 'priors/nothing'"),
        (["--prior", "priors/toybox-if", "--stage2-prior", "no-such"], "no-such"),
        (["--prior", "priors/toybox-if", "--prompts", "0"], "1 to 129"),
        (["--prior", "priors/toybox-if", "--part", "all"], '"tune", "test"'),
        (["--prior", "priors/toybox-if", "--add-to-leaderboard", "../x"], "small letters"),
        (["--prior", "priors/toybox-if", "--add-to-leaderboard", "plain"], "has a plain already"),
        (["--validate", "--set", "evaluate.judge=nowhere"], "no judge in"),
    ],
)
def test_mistakes_are_told_in_a_line(words, says, capsys) -> None:
    assert main(["bench", "janus", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
