"""Mistakes are found before anything is made, and told in one line."""

import hashlib
import os
import shutil
from collections import namedtuple

import pytest

from stabledreamer_core.errors import UserError
from tasks import checks
from tasks.job import Request

PROMPT = "a red bear"


def refused(*arguments, **options) -> str:
    """What `prepare` says of a request."""
    return mistake(checks.prepare, Request(*arguments, **options))


def mistake(call, *arguments) -> str:
    with pytest.raises(UserError) as error:
        call(*arguments)
    text = str(error.value)
    assert "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize("prompt", ["", "  \n ", "?!", "123", "a bear\x00", "a bear \x1b[2J"])
def test_a_prompt_without_words_is_refused(prompt):
    mistake(checks.clean_prompt, prompt)


def test_an_enormous_prompt_is_refused():
    assert "characters" in mistake(checks.clean_prompt, "bear " * 100_000)
    assert checks.clean_prompt("a" * checks.MAX_PROMPT_CHARS)


def test_a_preset_is_taken_by_its_name(tmp_path):
    out = str(tmp_path / "asset")
    quick = checks.prepare(Request(PROMPT, quick=True, out=out)).config
    assert checks.prepare(Request(PROMPT, preset="quick", out=out)).config == quick
    assert "did you mean small" in refused(PROMPT, preset="smal", out=out)
    assert "--quick is itself a preset" in refused(PROMPT, preset="small", quick=True, out=out)


def test_both_models_are_asked_for_before_one_is_downloaded(tmp_path, monkeypatch, tiny_if):
    from huggingface_hub import constants

    from tests.priors.stand_in_hub import point_at, stand_in_hub

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with stand_in_hub() as hub:
        point_at(monkeypatch, hub.endpoint)
        hub.models["me/first"] = tiny_if
        overrides = ("stage1.prior=me/first", "stage1.resolution=16", "stage2.prior=me/second")
        says = refused("a wizard", overrides=overrides, out=str(tmp_path / "asset"))
        assert "me/second" in says and "no such model" in says
        assert not hub.sent(".safetensors")


def test_spaces_do_not_matter():
    assert checks.clean_prompt("  a  red\tbear\n") == "a red bear"


def test_toybox_refuses_what_it_does_not_know_and_says_what_it_does():
    text = mistake(checks.check_words, "a marble statue of a wizard")
    assert "bear" in text and "red" in text and "top hat" in text


def test_toybox_warns_of_words_it_does_not_know(capsys):
    checks.check_words("a red bear riding a bicycle")
    assert capsys.readouterr().err.count("\n") == 1
    checks.check_words("a red bear wearing a top hat")
    assert capsys.readouterr().err == ""


def test_toybox_warns_of_a_second_object(capsys):
    checks.check_words("a red bear and a blue car")
    assert "not heeded: blue, car" in capsys.readouterr().err


def test_other_priors_take_any_words(params):
    assert checks.prepare(Request("a marble statue of a wizard", params=str(params)))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_have_a_range(seed, params):
    assert "--seed" in refused(PROMPT, seed, str(params))


def test_more_tokens_than_the_encoder_reads(params):
    text = refused("xyz " * 60, params=str(params))
    assert "77" in text


def test_a_missing_prior_is_named(params, tmp_path):
    overrides = (f"stage1.prior={tmp_path}/gone",)
    assert "gone" in refused(PROMPT, params=str(params), overrides=overrides)


def test_a_damaged_prior_is_named(params, tiny_if, tmp_path):
    folder = shutil.copytree(tiny_if, tmp_path / "damaged")
    weights = next((folder / "unet").glob("*.safetensors"))
    os.truncate(weights, 1000)
    overrides = (f"stage1.prior={folder}",)
    text = refused(PROMPT, params=str(params), overrides=overrides)
    assert weights.name in text


def test_a_prior_that_was_whole_is_looked_at_again_when_a_file_changes(params, tiny_if, tmp_path):
    folder = shutil.copytree(tiny_if, tmp_path / "copy")
    weights = next((folder / "unet").glob("*.safetensors"))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {weights.relative_to(folder)}\n")
    overrides = (f"stage1.prior={folder}",)
    assert checks.prepare(Request(PROMPT, params=str(params), overrides=overrides))
    assert checks.prepare(Request("a blue car", params=str(params), overrides=overrides))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # as many bytes
    weights.write_bytes(content)
    assert "SHA256SUMS" in refused(PROMPT, params=str(params), overrides=overrides)


def test_settings_are_read_again_when_their_file_changes(params, tmp_path):
    own = tmp_path / "own.yaml"
    for iterations in (6, 7):  # as many bytes
        own.write_text(params.read_text().replace("iterations: 6", f"iterations: {iterations}"))
        assert (
            checks.prepare(Request(PROMPT, params=str(own))).config.stage1.iterations == iterations
        )
        job = checks.prepare(Request(PROMPT, params=str(own), overrides=("stage1.iterations=9",)))
        assert job.config.stage1.iterations == 9
    own.unlink()
    assert "own.yaml" in refused(PROMPT, params=str(own))


def test_a_full_disk_is_told_before_the_run(params, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 10**6)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage)
    text = refused(PROMPT, params=str(params), out=str(tmp_path / "new"))
    assert "free" in text
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_told_before_the_run(params):
    text = refused(PROMPT, params=str(params), out="/proc/asset")
    assert "/proc/asset" in text


def test_a_bundled_prior_that_was_deleted_can_be_restored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    assert "git checkout -- priors" in refused(PROMPT)
