"""The whole evaluation, on Gaussians that were laid on true toys."""

import numpy as np
import pytest

from stabledreamer_core.errors import UserError
from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from toybox.metrics.evaluate import NAMES, evaluate
from toybox.catalogue import Toy
from toybox.mesh import true_mesh

PROMPT = "a red bear wearing a blue top hat"


@pytest.fixture(scope="module")
def bear():
    return true_mesh(Toy("bear", "red", "top hat", "blue"), resolution=96)


@pytest.fixture(scope="module")
def splats(bear, cover):
    paint = bear.visual.vertex_colors[:, :3] / 255.0

    def colour(points):
        nearest = bear.kdtree.query(points)[1]
        lit = 0.75 + 0.25 * bear.vertex_normals[nearest, 2:]  # light from above, as in Toybox
        return paint[nearest] * lit

    return cover(bear, colour, count=12000, size=0.015)


@pytest.fixture
def settings(config):
    return config.evaluate.model_copy(update={"surface_samples": 3000})


def test_a_true_toy_in_gaussians(splats, bear, settings, device, tmp_path):
    surface = Surface(np.array(bear.vertices), np.array(bear.vertex_normals), bear.faces)
    write_glb(tmp_path / "mesh.glb", surface)
    found = evaluate(splats, PROMPT, settings, device, tmp_path / "mesh.glb")
    assert tuple(found) == NAMES
    assert found["category"] >= 0.875 and found["colour"] >= 0.875 and found["view"] >= 0.875
    assert found["multi_face"] == 0.0
    assert found["chamfer"] < 0.005


def test_without_a_mesh_there_is_no_chamfer(splats, settings, device, tmp_path):
    assert evaluate(splats, PROMPT, settings, device)["chamfer"] is None
    nothing = np.zeros((0, 3))
    write_glb(tmp_path / "empty.glb", Surface(nothing, nothing, nothing.astype(int)))
    found = evaluate(splats, PROMPT, settings, device, tmp_path / "empty.glb")
    assert found["chamfer"] is None


def test_a_prompt_of_another_world_has_no_figures_and_needs_no_judge(splats, settings, device):
    elsewhere = settings.model_copy(update={"judge": "nowhere"})
    found = evaluate(splats, "a marble statue of a wizard", elsewhere, device)
    assert found == dict.fromkeys(NAMES)


def test_a_missing_judge_is_said(splats, settings, device):
    elsewhere = settings.model_copy(update={"judge": "nowhere"})
    with pytest.raises(UserError, match="judge"):
        evaluate(splats, PROMPT, elsewhere, device)


def test_no_gaussians_are_no_toy(nothing, settings, device):
    found = evaluate(nothing, PROMPT, settings, device)
    assert (found["category"], found["multi_face"]) == (0.0, 0.0)
