"""Many prompts: folders, the summary, the contact sheet, and a prompt that fails."""

import json
import math

import pytest
from PIL import Image

from flows import prompts_file
from flows.suite import suite, summarize
from stabledreamer.runtime.root import ROOT
from stabledreamer_core.errors import UserError


def test_one_failing_prompt_does_not_stop_the_others(make, params, tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text("prompts: [a red bear, '', a blue car]\nseeds: [0]\n")
    out = tmp_path / "out"
    summary = suite(str(file), str(out), params=str(params), overrides=["stage1.iterations=2"])
    assert json.loads((out / "summary.json").read_text()) == summary
    assert [asset["folder"] for asset in summary["assets"]] == ["a-red-bear-s0", "a-blue-car-s0"]
    assert all((out / asset["folder"] / "run.json").is_file() for asset in summary["assets"])
    (failure,) = summary["failures"]
    assert failure["prompt"] == "" and "empty" in failure["error"]
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 2 * 500


def test_summary_gives_mean_and_spread_of_what_was_measured():
    outcomes = [
        {"prompt": "a", "seed": 0, "metrics": {"category": 1.0, "chamfer": None}},
        {"prompt": "a", "seed": 1, "metrics": {"category": 0.5, "chamfer": 0.25}},
        {"prompt": "b", "seed": 0, "error": "no"},
    ]
    summary = summarize(outcomes)
    category = summary["metrics"]["category"]
    assert category == {"mean": 0.75, "std": 0.25, "min": 0.5, "max": 1.0, "count": 2}
    assert summary["metrics"]["chamfer"]["count"] == 1
    assert math.isclose(summary["metrics"]["chamfer"]["mean"], 0.25)
    assert [failure["prompt"] for failure in summary["failures"]] == ["b"]


def test_the_committed_prompts_are_the_rules_and_held_out():
    from toybox.captions import parse
    from toybox.catalogue import CATEGORIES
    from toybox.heldout import is_heldout
    from toybox.prompts import toybox_yaml

    file = ROOT / "prompts" / "toybox.yaml"
    assert file.read_text(encoding="utf-8") == toybox_yaml()
    prompts, seeds = prompts_file.read_prompts(file)
    toys = [parse(prompt).toy for prompt in prompts]
    assert all(toy is not None and is_heldout(toy, "test") for toy in toys)
    assert len({toy.category for toy in toys[:12]}) == 12 and len(CATEGORIES) == 18
    assert len(set(prompts)) == len(prompts) == 40
    assert seeds == [0]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "prompts: []", "prompts: a bear", "prompts: [1]", "prompts: [a]\nseeds: [x]",
     "prompts: [a]\nseeds: []", "other: 1", "{", "prompts: [a]\nseed: 1"],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(tmp_path, text):
    file = tmp_path / "prompts.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match="prompts"):
        prompts_file.read_prompts(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        prompts_file.read_prompts(tmp_path / "gone.yaml")


def test_a_plain_list_will_do(tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text("- a red bear\n- a blue car\n")
    assert prompts_file.read_prompts(file) == (["a red bear", "a blue car"], [0])


def test_what_is_asked_for_twice_is_made_and_counted_once(make, params, tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text("prompts: [a red bear, '  a red  bear ', a red bear]\nseeds: [0, 0]\n")
    with pytest.warns(UserWarning, match="5 assets were asked for twice"):
        summary = suite(
            str(file), str(tmp_path / "out"), params=str(params), overrides=["stage1.iterations=2"]
        )
    assert [asset["folder"] for asset in summary["assets"]] == ["a-red-bear-s0"]
    assert not summary["failures"]
    assert {metric["count"] for metric in summary["metrics"].values()} == {1}


def test_prompts_that_share_a_name_have_folders_of_their_own(make, params, tmp_path):
    file = tmp_path / "prompts.yaml"
    file.write_text("[a red bear, A red bear, a blue car]")
    out = tmp_path / "out"
    run = {"params": str(params), "overrides": ["stage1.iterations=2"]}
    summary = suite(str(file), str(out), **run)
    assert not summary["failures"]
    folders = {asset["prompt"]: asset["folder"] for asset in summary["assets"]}
    assert folders["a blue car"] == "a-blue-car-s0"
    assert len(set(folders.values())) == 3
    for prompt, folder in folders.items():
        assert json.loads((out / folder / "run.json").read_text())["prompt"] == prompt

    file.write_text("[A red bear, a blue car, a red bear]")  # whatever their order
    again = suite(str(file), str(out), **run)
    assert {asset["prompt"]: asset["folder"] for asset in again["assets"]} == folders


def test_a_preset_reaches_every_asset(monkeypatch, tmp_path):
    from flows import suite as module

    file, asked = tmp_path / "two.yaml", []
    file.write_text("[a red bear, a blue car]")
    monkeypatch.setattr(module, "_make", lambda requests, *_: asked.extend(requests) or [])
    for name in ("publish_suite", "publish_comparison", "write_contact_sheet"):
        monkeypatch.setattr(module, name, lambda *_: None)
    module.suite.fn(str(file), str(tmp_path / "out"), preset="quick", bars=False)
    assert [request.preset for request in asked] == ["quick", "quick"]
    with pytest.raises(UserError, match="did you mean quick"):
        module.suite.fn(str(file), str(tmp_path / "out"), preset="quik", bars=False)
