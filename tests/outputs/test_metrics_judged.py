"""The judged figures on true renders, and on renders broken in ways whose figures are known."""

import pytest
import torch

from toybox.metrics.judged import count_fronts, judge_views, judged_figures, share_named, share_near
from toybox.metrics.pictures import eight_azimuths
from toybox.captions import parse
from toybox.catalogue import Toy
from toybox.judge import load_judge
from toybox.render import render
from toybox.scenes import toy_batch

BEAR = Toy("bear", "red", "top hat", "blue")
MUG = Toy("mug", "cyan")  # its handle is on one side only


@pytest.fixture(scope="module")
def judge():
    return load_judge()


def photographer(toy, pose=lambda azimuth_deg: azimuth_deg, mirrored=False):
    """Pictures of the true toy, where `pose` says which side it shows to each azimuth."""

    def photograph(azimuth_deg):
        count = len(azimuth_deg)
        grey = torch.full((count, 3), 0.5)
        level, near = torch.full((count,), 15.0), torch.full((count,), 3.2)
        pictures = render(toy_batch(toy, pose(azimuth_deg), level, near, grey), 64)[None]
        return pictures.flip(-1) if mirrored else pictures

    return photograph


def figures(judge, prompt, photograph):
    seen = judge_views(judge, photograph(eight_azimuths()))
    return judged_figures(judge, parse(prompt), seen, photograph, front_views=24)


def test_a_true_toy_is_right_in_every_way(judge):
    found = figures(judge, "a red bear wearing a blue top hat", photographer(BEAR))
    assert found == {
        **dict.fromkeys(("category", "colour", "accessory", "accessory_colour"), 1.0),
        **dict.fromkeys(("view", "view_exact"), 1.0),
        "multi_face": 0.0,
        "frontal": 0.125,
    }


def test_another_toy_than_asked_for_is_wrong_where_it_differs(judge):
    found = figures(judge, "a green car on a white cube", photographer(BEAR))
    assert max(found[name] for name in ("category", "colour", "accessory")) == 0.0
    found = figures(judge, "a red bear", photographer(BEAR))
    assert (found["category"], found["accessory"], found["accessory_colour"]) == (1.0, 0.0, None)


def test_two_faces_back_to_back_are_found(judge):
    def two_faced(azimuth_deg):
        """The half turned away shows the front once more."""
        behind = (azimuth_deg > 90) & (azimuth_deg < 270)
        return torch.where(behind, (azimuth_deg + 180) % 360, azimuth_deg)

    found = figures(judge, "a red bear wearing a blue top hat", photographer(BEAR, two_faced))
    assert (found["multi_face"], found["frontal"]) == (1.0, 0.25)
    assert found["view"] == 0.625  # 135, 180 and 225 degrees look like 315, 0 and 45
    assert found["category"] == 1.0


@pytest.mark.parametrize(
    ("reach_deg", "many", "share"), [(60, 0.0, 9 / 24), (120, 1.0, 17 / 24), (180, 1.0, 1.0)]
)
def test_a_front_that_goes_far_round_is_more_than_one(judge, reach_deg, many, share):
    def wide(azimuth_deg):
        """What is seen from within `reach_deg` of the front is the front."""
        within = (azimuth_deg + 180) % 360 - 180
        return torch.where(within.abs() <= reach_deg, 0.0, azimuth_deg)

    found = figures(judge, "a red bear wearing a blue top hat", photographer(BEAR, wide))
    assert (found["multi_face"], found["frontal"]) == (many, pytest.approx(share))


def test_a_mirrored_mug_has_its_handle_on_the_wrong_side(judge):
    right = figures(judge, "a cyan mug", photographer(MUG))
    wrong = figures(judge, "a cyan mug", photographer(MUG, lambda azimuth: -azimuth, mirrored=True))
    assert right["view"] == 1.0
    assert wrong["view"] <= 0.375


def test_a_toy_that_faces_sideways_has_the_wrong_views(judge):
    found = figures(judge, "a red bear", photographer(BEAR, lambda azimuth: azimuth + 90))
    assert (found["view"], found["multi_face"], found["frontal"]) == (0.0, 0.0, 0.125)


def test_what_has_no_front_has_no_view_figures(judge):
    found = figures(judge, "a red mushroom", photographer(Toy("mushroom", "red")))
    assert (found["category"], found["view"], found["multi_face"]) == (1.0, None, None)
    assert found["frontal"] is None


def test_nothing_is_no_toy(judge):
    found = figures(
        judge, "a red bear", lambda azimuth: torch.full((1, len(azimuth), 3, 64, 64), 0.5)
    )
    assert found["category"] == 0.0
    assert found["multi_face"] == 0.0


def test_share_named_counts_most_probable_answers():
    probabilities = torch.tensor([[0.6, 0.4], [0.1, 0.9], [0.55, 0.45], [0.2, 0.8]])
    assert share_named(probabilities, 0) == 0.5


def test_share_near_is_three_eighths_by_chance():
    """A judge that always says the same is right in three of the eight views."""
    always_front = torch.eye(8)[0].expand(8, 8)
    assert share_near(always_front, 1) == 0.375
    assert share_near(always_front, 0) == 0.125


def test_share_near_goes_round_the_circle():
    for off, within_one in ((0, 1.0), (1, 1.0), (7, 1.0), (2, 0.0), (4, 0.0)):
        probabilities = torch.eye(8).roll(off, 1)
        assert share_near(probabilities, 1) == within_one
        assert share_near(probabilities, 0) == float(off == 0)


@pytest.mark.parametrize(
    ("front_at_deg", "count"),
    [
        ([], 0),
        ([345, 0, 15], 1),  # across the cut of the circle
        ([345, 0, 15, 165, 180, 195], 2),  # back to back
        ([345, 0, 15, 75, 90, 105], 2),  # side by side
        ([330, 345, 0, 30, 45], 1),  # one misjudged view inside a wide front
        ([345, 0, 15, 180], 1),  # one misjudged view behind
        ([105, 120, 135, 225, 240, 255, 345, 0, 15], 3),
        (list(range(0, 135, 15)), 1),  # three times as wide as a true one
        (list(range(0, 150, 15)), 2),  # no face is as wide
        ([*range(0, 150, 15), 210, 225, 240], 3),  # that, and one behind
        (list(range(0, 360, 15)), 3),  # all round
    ],
)
def test_count_fronts(front_at_deg, count):
    probabilities = torch.zeros(24)
    probabilities[[degrees // 15 for degrees in front_at_deg]] = 1.0
    for turn in (0, 5, 17):
        assert count_fronts(probabilities.roll(turn)) == count
