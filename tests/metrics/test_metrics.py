"""The metrics, on what is true and on what is deliberately broken."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.metrics.surfaces import chamfer
from stabledreamer_core.scene.gaussians import Splats
from toybox.captions import parse
from toybox.catalogue import Toy
from toybox.geometry import solid
from toybox.mesh import signed_distance, true_mesh
from toybox.metrics.evaluate import NAMES, evaluate
from toybox.render_paint import toy_palette

CPU = torch.device("cpu")
SETTINGS = load_config().evaluate
PROMPT = "a red bear wearing a blue top hat"
BEAR = parse(PROMPT).toy
assert BEAR is not None


def surface_splats(toy: Toy, count: int = 6000) -> Splats:
    """Small opaque Gaussians all over a toy's true surface, in its unshaded colours."""
    mesh = true_mesh(toy)
    points = np.asarray(trimesh.sample.sample_surface(mesh, count, seed=0)[0], np.float32)
    one = solid(toy.category, toy.accessory, None)
    nearest = signed_distance(one, points)[1]
    colours = toy_palette(toy)[torch.from_numpy(one.slots[nearest].astype(np.int64))]
    return {
        "means": torch.from_numpy(points),
        "quats": torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        "scales": torch.full((count, 3), 0.022).log(),
        "opacities": torch.full((count,), 4.0),
        "colors": torch.logit(0.9 * colours.float().clamp(0.02, 0.98)),
    }


@pytest.fixture(scope="module")
def bear() -> Splats:
    return surface_splats(BEAR)


def test_a_true_asset_scores_high(bear: Splats) -> None:
    scores = evaluate(bear, PROMPT, SETTINGS, CPU)
    for name in ("category", "colour", "accessory", "accessory_colour", "view"):
        assert scores[name] is not None and scores[name] >= 0.75, (name, scores)
    assert scores["multi_face"] == 0.0


def test_a_recoloured_asset_loses_colour_alone(bear: Splats) -> None:
    green = dict(bear, colors=bear["colors"][:, [1, 0, 2]])
    scores = evaluate(green, PROMPT, SETTINGS, CPU)
    assert scores["colour"] == 0.0
    assert (scores["category"] or 0) >= 0.75


def test_a_turned_asset_loses_its_view_alone(bear: Splats) -> None:
    turned = dict(bear, means=bear["means"] * torch.tensor([-1.0, -1.0, 1.0]))
    scores = evaluate(turned, PROMPT, SETTINGS, CPU)
    assert (scores["view"] or 0.0) <= 0.25
    assert (scores["category"] or 0) >= 0.75


def test_two_faces_are_seen(bear: Splats) -> None:
    front = bear["means"][:, 0] > 0.0
    half = {key: value[front] for key, value in bear.items()}
    back = dict(half, means=half["means"] * torch.tensor([-1.0, -1.0, 1.0]))
    janus = {key: torch.cat([half[key], back[key]]) for key in half}
    assert evaluate(janus, PROMPT, SETTINGS, CPU)["multi_face"] == 1.0


def test_a_grey_ball_and_a_blur_are_none_of_these(bear: Splats) -> None:
    ball = dict(bear, means=torch.nn.functional.normalize(bear["means"], dim=-1) * 0.6)
    ball["colors"] = torch.zeros_like(ball["colors"])
    assert evaluate(ball, PROMPT, SETTINGS, CPU)["category"] == 0.0
    haze = dict(bear, scales=bear["scales"] + 2.5, opacities=bear["opacities"] - 8.0)
    assert (evaluate(haze, PROMPT, SETTINGS, CPU)["category"] or 0.0) <= 0.25


def test_a_prompt_without_a_truth_has_no_figures(bear: Splats) -> None:
    assert evaluate(bear, "a marble wizard", SETTINGS, CPU) == dict.fromkeys(NAMES)


def test_chamfer_sees_a_squashed_toy() -> None:
    truth = true_mesh(BEAR)
    squashed = trimesh.Trimesh(truth.vertices * [1.0, 1.0, 0.6], truth.faces)
    assert chamfer(squashed, truth, 4000) > 0.02


def test_chamfer_from_a_written_mesh(bear: Splats, tmp_path: Path) -> None:
    from stabledreamer_core.assets.mesh.extract import write_mesh

    mesh = load_config(overrides=["mesh.views=24", "mesh.resolution=64"]).mesh
    path = tmp_path / "mesh.glb"
    write_mesh(bear, mesh, path, CPU)
    distance = evaluate(bear, PROMPT, SETTINGS, CPU, path)["chamfer"]
    assert distance is not None and distance < 0.02
