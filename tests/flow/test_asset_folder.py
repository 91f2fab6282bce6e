"""Names of asset folders, and whose they are."""

import json
import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stabledreamer_core.errors import UserError
from tasks.asset_folder import MAX_SLUG_CHARS, OWNER, default_folder, lock_asset, slug


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red bear", "a-red-bear"),
        ("A Red  Bear!", "a-red-bear"),
        ("../../etc/passwd", "etc-passwd"),
        ("café", "cafe"),
    ],
)
def test_slug_of_plain_prompts(prompt, expected):
    assert slug(prompt) == expected


@given(st.text(min_size=1, max_size=400))
def test_any_prompt_gives_a_safe_name(prompt):
    name = slug(prompt)
    assert 0 < len(name) <= MAX_SLUG_CHARS
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not name.startswith("-")


def test_long_and_foreign_prompts_do_not_collide():
    assert slug("a" * 100) != slug("a" * 101)
    assert slug("熊") != slug("猫")


def test_default_folder_names_the_seed():
    assert default_folder("a red bear", 3).as_posix() == "outputs/a-red-bear-s3"


def test_a_folder_stays_its_prompts(tmp_path):
    out = tmp_path / "new" / "asset"
    with lock_asset(out, "a red bear", 0):
        pass
    with lock_asset(out, "a red bear", 0):
        pass
    for prompt, seed in (("a blue car", 0), ("a red bear", 1)):
        with pytest.raises(UserError, match="holds 'a red bear' with seed 0"):
            with lock_asset(out, prompt, seed):
                pass


def test_a_finished_asset_without_the_hidden_file_is_known_by_its_record(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"prompt": "a red bear", "seed": 0}))
    with lock_asset(tmp_path, "a red bear", 0):
        pass
    (tmp_path / OWNER).unlink()
    with pytest.raises(UserError, match="choose another --out"):
        with lock_asset(tmp_path, "a red bear", 1):
            pass


def test_someone_elses_folder_is_refused(tmp_path):
    (tmp_path / "mesh.glb").write_text("precious")
    with pytest.raises(UserError, match="holds no asset of ours"):
        with lock_asset(tmp_path, "a red bear", 0):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.glb"]


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_torn_owner_file_in_an_empty_folder_is_replaced(tmp_path, content):
    (tmp_path / OWNER).write_text(content)
    with lock_asset(tmp_path, "a red bear", 0):
        assert json.loads((tmp_path / OWNER).read_text())["prompt"] == "a red bear"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="choose"):
            with lock_asset(out, "a red bear", 0):
                pass


def _hold(out, ready, done):
    with lock_asset(out, "a red bear", 0):
        ready.set()
        done.wait(30)


def test_two_runs_cannot_share_a_folder_and_a_killed_one_lets_go(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, done))
    other.start()
    assert ready.wait(30)
    with pytest.raises(UserError, match="another run is working"):
        with lock_asset(tmp_path, "a red bear", 0):
            pass
    other.kill()
    other.join()
    with lock_asset(tmp_path, "a red bear", 0):
        pass
