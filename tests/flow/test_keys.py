"""Which change makes which step anew: the table that caching rests on."""

import hashlib
import json

import pytest

from stabledreamer_core.settings.config import load_config
from tasks import keys

FILES = {keys.STAGE1: "1" * 64, keys.STAGE2: "2" * 64, keys.MESH: "3" * 64}
ALL = set(keys.STEPS)
AFTER_STAGE2 = {"turntable", "preview", "mesh", "evaluate"}


@pytest.fixture(autouse=True)
def model_hashes(monkeypatch):
    """Models are hashed by other code; here each has a name for a hash."""
    monkeypatch.setattr(keys, "_prior_hash", lambda source, revision: f"{source}@{revision}")
    monkeypatch.setattr(keys, "_folder_hash", lambda folder: folder)


def all_keys(*overrides: str, prompt: str = "a red bear", seed: int = 0, files=None):
    config = load_config(None, list(overrides))
    return {step: keys.step_key(step, config, prompt, seed, files or FILES) for step in keys.STEPS}


def changed(**options) -> set[str]:
    before, after = all_keys(), all_keys(*options.pop("overrides", []), **options)
    return {step for step in before if before[step] != after[step]}


def test_nothing_changed_changes_nothing():
    assert changed() == set()


def test_every_step_has_a_key_of_its_own():
    assert len(set(all_keys().values())) == len(keys.STEPS)


@pytest.mark.parametrize(
    ("override", "steps"),
    [
        ("gaussians.count=99", {"stage1"}),
        ("stage1.iterations=99", {"stage1"}),
        ("stage1.regularizers.opacity=0.5", {"stage1"}),
        ("stage2.guidance_scale=9", {"stage2"}),
        ("turntable.frames=9", {"turntable", "preview"}),
        ("mesh.resolution=99", {"mesh"}),
        ("evaluate.elevation_deg=9", {"evaluate"}),
        ("stage2.prior=elsewhere/prior", {"stage2"}),
        ("stage1.revision=abc", {"stage1"}),
        ("evaluate.judge=elsewhere", {"evaluate"}),
        ("checkpoint.every_seconds=9", set()),
        ("debug.every=9", set()),
        ("device=cpu", {"stage1", "stage2", "turntable", "preview", "mesh", "evaluate"}),
    ],
)
def test_a_setting_changes_the_steps_that_read_it_alone(override, steps):
    assert changed(overrides=[override]) == steps


def test_prompt_and_seed_change_every_step():
    assert changed(prompt="a red cat") == ALL
    assert changed(seed=1) == ALL


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        (keys.STAGE1, {"checkpoint1", "stage2"}),
        (keys.STAGE2, {"checkpoint2", "gaussians"} | AFTER_STAGE2),
        (keys.MESH, {"evaluate"}),
    ],
)
def test_an_input_file_changes_the_steps_that_read_it_alone(file, steps):
    assert changed(files=FILES | {file: "4" * 64}) == steps


def test_toybox_code_matters_to_the_evaluation_alone(monkeypatch):
    before = all_keys()
    real = keys.code_hash
    monkeypatch.setattr(
        keys, "code_hash", lambda *packages: real(*packages) + ("x" * ("toybox" in packages))
    )
    after = all_keys()
    assert {step for step in before if before[step] != after[step]} == {"evaluate"}


def test_code_hash_follows_contents_and_names(monkeypatch, tmp_path):
    monkeypatch.setattr(keys, "ROOT", tmp_path)
    package = tmp_path / "package"
    package.mkdir()

    def now() -> str:
        keys.code_hash.cache_clear()
        return keys.code_hash("package")

    (package / "a.py").write_text("x = 1\n")
    first = now()
    (package / "notes.txt").write_text("no code")
    assert now() == first
    (package / "a.py").write_text("x = 2\n")
    second = now()
    (package / "a.py").rename(package / "b.py")
    assert len({first, second, now()}) == 3
    keys.code_hash.cache_clear()


def test_the_same_key_in_every_process():
    """A key kept today must be found tomorrow: its text is spelt out here."""
    key = keys.content_key("mesh", {"b": (1, 2.5), "a": None}, "ä bear", 3, "p", {"f": "0"}, "c")
    text = (
        '{"code":"c","inputs":{"f":"0"},"params":{"a":null,"b":[1,2.5]},"prior":"p",'
        '"prompt":"\\u00e4 bear","seed":3,"step":"mesh"}'
    )
    assert key == hashlib.sha256(text.encode()).hexdigest()


def test_canonical_json_has_one_text_a_value():
    assert keys.canonical_json({"b": 1, "a": [1.0, None]}) == '{"a":[1.0,null],"b":1}'
    with pytest.raises(ValueError):
        keys.canonical_json({"a": float("nan")})


def test_every_section_is_read_by_a_step_or_known_not_to_matter():
    config = load_config()
    read = {section for step in keys.STEPS.values() for section in step.settings}
    assert set(json.loads(config.model_dump_json())) - read == {"checkpoint", "debug", "training"}
