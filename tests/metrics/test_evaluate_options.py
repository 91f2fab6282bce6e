"""What evaluate measures on wish, and what it does not need."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from stabledreamer.cli.main import main
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import save_checkpoint
from stabledreamer_core.scene.gaussians import init_ball
from toybox.catalogue import Toy
from toybox.metrics.evaluate import NAMES, evaluate, evaluate_views
from toybox.metrics.pictures import true_camera

CPU = torch.device("cpu")
PRIOR = ("prior_view", "prior_fronts", "prior_front_arcs", "prior_multi_face")


@pytest.fixture(scope="module")
def ball():
    return init_ball(300, 0.5, 0.1, 0.8, torch.Generator().manual_seed(0))


@pytest.fixture
def asking(tiny_if):
    """Settings that ask a tiny prior with random weights."""
    prior = f"evaluate.view_prior.prior={tiny_if}"
    words = ["evaluate.view_prior.view_words=four", "evaluate.view_prior.noise_levels=[0.5]"]
    return load_config(overrides=["evaluate.view_classifier=true", prior, *words]).evaluate


def test_any_prompt_can_be_classified_without_a_judge(ball, asking):
    settings = asking.model_copy(update={"judge": "nowhere"})
    found = evaluate(ball, "a marble statue of a wizard", settings, CPU)
    assert all(found[name] is not None for name in PRIOR)
    assert {name for name in NAMES if found[name] is not None} == set(PRIOR)


def test_a_toybox_prompt_has_the_judges_opinion_beside_it(ball, asking):
    found = evaluate(ball, "a red bear", asking, CPU)
    assert found["prior_agreement"] is not None and 0.0 <= found["prior_agreement"] <= 1.0


def test_what_has_no_front_is_not_asked_about(ball, asking):
    elsewhere = asking.view_prior.model_copy(update={"prior": "./nowhere"})
    settings = asking.model_copy(update={"view_prior": elsewhere})
    found = evaluate(ball, "a red mushroom", settings, CPU)
    assert all(found[name] is None for name in PRIOR)
    with pytest.raises(UserError, match="nowhere"):
        evaluate(ball, "a red bear", settings, CPU)


def test_absent_clip_weights_are_told(ball):
    settings = load_config(overrides=["evaluate.clip=./nowhere"]).evaluate
    with pytest.raises(UserError, match=r"evaluate\.clip"):
        evaluate(ball, "a wizard", settings, CPU)


def test_a_true_toy_is_perfect_against_itself():
    settings = load_config().evaluate
    look = true_camera(Toy("mug", "cyan"), settings.elevation_deg)
    found = evaluate_views(look, "a cyan mug", settings, CPU)
    assert (found["colour_error"], found["detail"], found["r_precision"]) == (0.0, 1.0, 1.0)
    other = evaluate_views(look, "a white mug", settings, CPU)
    assert other["colour_error"] > 0.1 and other["r_precision"] == 0.0
    without = evaluate_views(look, "a mug", settings, CPU)  # no colour to compare with
    assert (without["colour_error"], without["r_precision"]) == (None, None)


def test_without_a_mesh_no_mesh_library_is_needed():
    """On a machine that has only torch and numba."""
    code = """
import sys
for name in ("open3d", "trimesh", "scipy", "skimage", "xatlas"):
    sys.modules[name] = None
import torch
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.scene.gaussians import init_ball
from toybox.metrics.evaluate import evaluate
ball = init_ball(50, 0.5, 0.1, 0.8, torch.Generator().manual_seed(0))
found = evaluate(ball, "a red bear", load_config().evaluate, torch.device("cpu"))
print(found["category"], found["colour_error"] is not None, found["chamfer"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    category, has_colour, chamfer = done.stdout.split()[-3:]
    assert 0.0 <= float(category) <= 1.0 and (has_colour, chamfer) == ("True", "None")


@pytest.fixture
def asset(ball, tmp_path):
    """As much of a finished asset as evaluate reads."""
    (tmp_path / "stage2").mkdir()
    save_checkpoint(tmp_path / "stage2" / "gaussians.safetensors", ball, {})
    nothing = np.zeros((0, 3))
    write_glb(tmp_path / "mesh.glb", Surface(nothing, nothing, nothing.astype(int)))
    config = load_config(overrides=["device=cpu"]).model_dump(mode="json")
    record = {"prompt": "a wizard", "seed": 0, "config": config}
    (tmp_path / "run.json").write_text(json.dumps(record))
    return tmp_path


def test_the_command_takes_settings_for_this_measurement(asset, tiny_if, capsys):
    assert main(["evaluate", str(asset), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out).values()) == {None}
    before = (asset / "run.json").read_bytes()
    settings = [
        "evaluate.view_classifier=true",
        f"evaluate.view_prior.prior={tiny_if}",
        "evaluate.view_prior.noise_levels=[0.5]",
    ]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    assert main(["evaluate", str(asset), "--json", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["prior_fronts"] is not None
    assert (asset / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    "setting", ["evaluate.view_clasifier=true", "evaluate.view_prior.noises=0", "evaluate"]
)
def test_a_wrong_setting_is_told(asset, capsys, setting):
    assert main(["evaluate", str(asset), "--set", setting]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
