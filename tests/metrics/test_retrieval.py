"""R-Precision with the judge as the retriever."""

import pytest
import torch

from toybox.catalogue import Toy
from toybox.judge import Labels, load_judge
from toybox.metrics.judged import judge_views
from toybox.metrics.pictures import eight_azimuths, true_camera
from toybox.metrics.retrieval import (
    catalogue_prompts,
    joint_log_probability,
    judge_ranks,
    r_precision,
    rivals,
    wish_of,
)

LABELS = Labels()
OWN = "a red bear wearing a blue top hat"


def sure_of(category, colour, accessory, sureness=0.9):
    """One view whose judge is that sure of each answer and spreads the rest evenly."""
    answers = {
        "category": (LABELS.category, category),
        "colour": (LABELS.colour, colour),
        "accessory": (LABELS.accessory, accessory),
    }
    found = {}
    for name, (known, answer) in answers.items():
        found[name] = torch.full((1, len(known)), (1 - sureness) / (len(known) - 1))
        found[name][0, known.index(answer)] = sureness
    return found


def rank(seen, own, others):
    return judge_ranks(seen, LABELS, own, others).item()


def test_the_joint_probability_is_the_product():
    seen = sure_of("bear", "red", "top hat", 0.8)
    found = joint_log_probability(seen, LABELS, [("bear", "red", "scarf")]).exp().item()
    assert found == pytest.approx(0.8 * 0.8 * 0.2 / 3)


def test_rank_counts_what_fits_better_or_as_well():
    seen = sure_of("bear", "red", "top hat")
    assert rank(seen, OWN, ["a blue bear wearing a scarf", "a red car"]) == 1
    assert rank(seen, "a red bear", [OWN, "a blue car"]) == 2
    assert rank(seen, "a blue car", [OWN, "a red bear", "a red car", "a blue bear"]) == 5
    assert rank(seen, "a blue cat", ["a green cat"]) == 2  # a tie is no success


def test_one_wrong_answer_is_enough_over_the_whole_catalogue():
    others = rivals(OWN, [])
    assert rank(sure_of("bear", "red", "top hat"), OWN, others) == 1
    for seen in (("cat", "red", "top hat"), ("bear", "pink", "top hat"), ("bear", "red", "none")):
        assert rank(sure_of(*seen), OWN, others) > 1


def test_every_combination_of_the_catalogue_is_asked_once():
    wishes = [wish_of(prompt) for prompt in catalogue_prompts()]
    assert len(set(wishes)) == len(wishes) == 7 * 10 * 4 + 11 * 10 * 2
    assert len(rivals(OWN, [])) == len(wishes) - 1


def test_rivals_ask_for_something_else():
    same = ["a red bear wearing a green top hat", OWN, "the red bear with a top hat"]
    assert rivals(OWN, [*same, "a red bear", "a wizard", "a red bear"]) == [
        "a red bear",
        "a wizard",
    ]
    assert rivals("a wizard", ["a wizard", "a witch", OWN]) == ["a witch", OWN]
    assert rivals("a wizard", []) == []


def test_a_prompt_without_a_category_or_colour_has_no_rank():
    seen = sure_of("bear", "red", "none")
    assert judge_ranks(seen, LABELS, "a wizard", ["a red bear"]) is None
    assert judge_ranks(seen, LABELS, "a bear", ["a red bear"]) is None


def test_r_precision_is_the_share_of_first_ranks():
    assert r_precision(torch.tensor([1, 2, 1, 7])) == 0.5


def test_true_toys_are_retrieved_and_wrong_ones_are_not():
    judge = load_judge()

    def found(shown, asked):
        look = true_camera(shown, 15.0)
        seen = judge_views(judge, look(eight_azimuths(), 64).on(0.5)[None])
        return r_precision(judge_ranks(seen, judge.labels, asked, rivals(asked, [])))

    assert found(Toy("bear", "red", "top hat", "blue"), OWN) == 1.0
    assert found(Toy("bear", "green", "top hat", "blue"), OWN) == 0.0
    assert found(Toy("bear", "red"), OWN) == 0.0
    assert found(Toy("chair", "white", "cube", "red"), "a white chair on a red cube") == 1.0
