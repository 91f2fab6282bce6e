"""Which change makes which step anew: the table that caching rests on."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.stage import run_stage
from stabledreamer_core.priors.identity import check_manifest, write_manifest
from stabledreamer_core.priors.layout import component_files
from tasks import keys
from tasks.code_reach import METHOD, import_graph, package_hash

FILES = {keys.STAGE1: "1" * 64, keys.STAGE2: "2" * 64, keys.MESH: "3" * 64}
ALL = set(keys.STEPS)
PRIOR_HASH = keys._prior_hash
AFTER_STAGE2 = {"turntable", "preview", "mesh", "export", "evaluate"}


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
        ("export.formats=[spz]", {"export"}),
        ("evaluate.elevation_deg=9", {"evaluate"}),
        ("stage2.prior=elsewhere/prior", {"stage2", "mesh"}),  # its pictures' light is not known
        ("stage1.prior=elsewhere/prior", {"stage1"}),
        ("stage1.revision=abc", {"stage1"}),
        ("evaluate.judge=elsewhere", {"evaluate"}),
        ("checkpoint.every_seconds=9", set()),
        ("debug.every=9", set()),
        ("device=cpu", {"stage1", "stage2", "turntable", "preview", "mesh", "evaluate"}),
    ],
)
def test_a_setting_changes_the_steps_that_read_it_alone(override, steps):
    assert changed(overrides=[override]) == steps


def test_a_stage_depends_on_the_models_that_cure_its_bias():
    weighed = "stage1.view_bias.reweight=uniform"
    before, after = all_keys(weighed), all_keys(weighed, "evaluate.judge=elsewhere")
    assert {step for step in ALL if before[step] != after[step]} == {"stage1", "evaluate"}


def test_prompt_and_seed_change_every_step():
    assert changed(prompt="a red cat") == ALL
    assert changed(seed=1) == ALL


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        (keys.STAGE1, {"checkpoint1", "stage2"}),
        (keys.STAGE2, {"checkpoint2", "gaussians"} | AFTER_STAGE2),
        (keys.MESH, {"export", "evaluate"}),
    ],
)
def test_an_input_file_changes_the_steps_that_read_it_alone(file, steps):
    assert changed(files=FILES | {file: "4" * 64}) == steps


PRINT_KEYS = """
import json, sys
from pathlib import Path
from stabledreamer_core.settings.config import Config
from tasks import code_reach, keys
keys._prior_hash = keys._folder_hash = lambda *_: ""
files = {keys.STAGE1: "1" * 64, keys.STAGE2: "2" * 64, keys.MESH: "3" * 64}

def all_keys():
    for known in vars(code_reach).values():
        if hasattr(known, "cache_clear"):
            known.cache_clear()
    return {step: keys.step_key(step, Config(), "", 0, files) for step in keys.STEPS}

told = []
for path in map(Path, sys.argv[1:]):
    before = path.read_bytes()
    path.write_bytes(before + b"\\n# edited\\n")
    told.append(all_keys())
    path.write_bytes(before)
print(json.dumps(told or [all_keys()]))
"""
STAGES = {"stage1", "stage2"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the code in a folder of its own, where the tests may edit it."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in ("stabledreamer_core", "toybox", "tasks", "stabledreamer"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=skip)
    return folder


def all_keys_of(checkout: Path, *files: str) -> list[dict[str, str]]:
    """Every step's key by a copy's own code, once for each of these files with it edited.

    Without files, once as it is. What else keys cover is fixed.
    """
    command = [sys.executable, "-c", PRINT_KEYS, *files]
    told = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    return json.loads(told.stdout)


def keys_of(checkout: Path) -> dict[str, str]:
    """Every step's key by a copy's own code as it is."""
    return all_keys_of(checkout)[0]


@pytest.fixture(scope="module")
def unedited(checkout: Path) -> dict[str, str]:
    """The keys before all edits."""
    return keys_of(checkout)


@contextmanager
def edited(path: Path, line: str = "# edited"):
    """The file with a line more, for as long as this lasts."""
    before = path.read_bytes()
    path.write_bytes(before + f"\n{line}\n".encode())
    yield
    path.write_bytes(before)


EDITS = {
    "tasks/report/page.py": set(),
    "tasks/report/debugger.py": set(),
    "tasks/keys.py": set(),
    "stabledreamer_core/debugger/draw.py": set(),
    "stabledreamer_core/assets/mesh/extract.py": {"mesh"},
    "stabledreamer_core/assets/mesh/color.py": {"mesh"},
    "stabledreamer_core/assets/mesh/glb.py": {"mesh", "export", "evaluate"},
    "stabledreamer_core/assets/splats/ply.py": {"gaussians", "export"},
    "stabledreamer_core/assets/splats/spz.py": {"export"},
    "stabledreamer_core/assets/turntable.py": {"turntable", "preview"},
    "stabledreamer_core/optimization/loop.py": STAGES,
    "stabledreamer_core/distillation/loss.py": {*STAGES, "evaluate"},
    "stabledreamer_core/distillation/__init__.py": {*STAGES, "evaluate"},
    "stabledreamer_core/scene/gaussians.py": ALL,
    "stabledreamer_core/scene/__init__.py": ALL,
    "toybox/metrics/judged.py": {"evaluate"},
    "toybox/heldout.yaml": {"evaluate"},
    "toybox/training/loop.py": set(),
}


@pytest.fixture(scope="module")
def after_edits(checkout: Path) -> dict[str, dict[str, str]]:
    """The keys with each of these files edited, by one process."""
    return dict(zip(EDITS, all_keys_of(checkout, *EDITS), strict=True))


@pytest.mark.parametrize(("file", "steps"), EDITS.items())
def test_an_edit_changes_the_steps_that_reach_it_alone(unedited, after_edits, file, steps):
    after = after_edits[file]
    assert {step for step in unedited if unedited[step] != after[step]} == steps


def test_edits_leave_nothing_behind(checkout, unedited):
    assert keys_of(checkout) == unedited


def test_an_import_inside_a_function_is_followed(checkout):
    guard = checkout / "stabledreamer_core/optimization/guard.py"
    with edited(guard, "def late():\n    from stabledreamer_core.debugger import draw"):
        before = keys_of(checkout)
        with edited(checkout / "stabledreamer_core/debugger/draw.py"):
            after = keys_of(checkout)
    assert {step for step in before if before[step] != after[step]} == STAGES


def test_an_import_for_type_checkers_is_not(checkout):
    loss = checkout / "stabledreamer_core/optimization/guard.py"
    line = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
    with edited(loss, line + "    from stabledreamer_core.debugger import draw"):
        before = keys_of(checkout)
        with edited(checkout / "stabledreamer_core/debugger/draw.py"):
            assert keys_of(checkout) == before


def test_keys_are_the_same_wherever_the_code_lies(checkout, tmp_path):
    installed = tmp_path / "site-packages"
    shutil.copytree(checkout, installed)
    assert keys_of(installed) == keys_of(checkout)


def test_no_step_goes_through_the_lazy_public_api():
    """What `stabledreamer_core.name` imports when it is used is no import that the graph sees."""
    for step in keys.STEPS.values():
        reach = import_graph(METHOD).find_upstream_modules(step.root)
        assert not {"stabledreamer_core", "toybox"} & reach, step.root


def test_every_step_names_what_it_runs():
    """tasks/steps.py calls the function of the module whose reach the key covers."""
    tree = import_graph(("tasks", *METHOD)).find_modules_directly_imported_by("tasks.steps")
    assert {step.root for step in keys.STEPS.values()} <= tree


def test_package_hash_follows_contents_and_names(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "hashed_package"
    package.mkdir()

    def now() -> str:
        package_hash.cache_clear()
        return package_hash("hashed_package")

    (package / "a.py").write_text("x = 1\n")
    first = now()
    (package / "notes.txt").write_text("no code")
    assert now() == first
    (package / "a.py").write_text("x = 2\n")
    second = now()
    (package / "a.py").rename(package / "b.py")
    assert len({first, second, now()}) == 3


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
    other = {"acceleration", "checkpoint", "debug"}  # what they make is the same, up to rounding
    assert set(json.loads(config.model_dump_json())) - read == other


@pytest.fixture
def read(monkeypatch) -> list[Path]:
    """The files that are read to be hashed, as often as they are."""
    paths: list[Path] = []
    digest = hashlib.file_digest

    def noted(handle, *rest):
        paths.append(Path(handle.name))
        return digest(handle, *rest)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    return paths


def test_weights_are_hashed_once_a_process(tiny_if, tmp_path, monkeypatch, read):
    """The keys, the check of the manifest, the stage's own key and the prior share one reading."""
    monkeypatch.setattr(keys, "_prior_hash", PRIOR_HASH)
    prior = shutil.copytree(tiny_if, tmp_path / "prior")
    write_manifest(prior)
    tiny = ["iterations=1", "views=1", "target_reuse=1", "resolution=16", f"prior={prior}"]
    set_to = ["device=cpu", "gaussians.count=50", *(f"stage1.{value}" for value in tiny)]
    config = load_config(None, set_to)
    read.clear()

    key = keys.step_key("stage1", config, "a red bear", 0, {})
    check_manifest(prior)
    run_stage(config, "stage1", "a red bear", 0, work_dir=tmp_path, cache_dir=tmp_path / "kept")
    assert keys.step_key("stage1", config, "a red bear", 0, {}) == key
    of_prior = sorted(path for path in read if path.is_relative_to(prior))
    assert of_prior == sorted(prior / name for name in component_files(prior))

    weights = prior / "unet/diffusion_pytorch_model.safetensors"
    before = weights.stat()
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keys.step_key("stage1", config, "a red bear", 0, {}) != key
    with pytest.raises(UserError, match="damaged"):
        check_manifest(prior)
