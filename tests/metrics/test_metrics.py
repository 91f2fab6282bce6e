"""The metrics, on what is true and on what is deliberately broken."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from stabledreamer_core.config import load_config
from stabledreamer_core.gaussians import Splats
from stabledreamer_core.metrics import NAMES, evaluate
from stabledreamer_core.metrics.geometry import chamfer, truth_points
from stabledreamer_core.metrics.judged import bins_off, front_arcs, judged
from toybox.captions import parse
from toybox.catalogue import Toy
from toybox.geometry import solid
from toybox.mesh import signed_distance, true_mesh
from toybox.render_paint import toy_palette

CPU = torch.device("cpu")
SETTINGS = load_config().evaluate
BEAR = parse("a red bear wearing a blue top hat").toy
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
    scores = judged(bear, BEAR, SETTINGS, CPU)
    for name in ("category", "colour", "accessory", "accessory_colour", "view"):
        assert scores[name] is not None and scores[name] >= 0.75, (name, scores)
    assert scores["multi_face"] == 0.0


def test_a_recoloured_asset_loses_colour_alone(bear: Splats) -> None:
    green = dict(bear, colors=bear["colors"][:, [1, 0, 2]])
    scores = judged(green, BEAR, SETTINGS, CPU)
    assert scores["colour"] == 0.0
    assert (scores["category"] or 0) >= 0.75


def test_a_turned_asset_loses_its_view_alone(bear: Splats) -> None:
    turned = dict(bear, means=bear["means"] * torch.tensor([-1.0, -1.0, 1.0]))
    scores = judged(turned, BEAR, SETTINGS, CPU)
    assert (scores["view"] or 0.0) <= 0.25
    assert (scores["category"] or 0) >= 0.75


def test_two_faces_are_seen(bear: Splats) -> None:
    front = bear["means"][:, 0] > 0.0
    half = {key: value[front] for key, value in bear.items()}
    back = dict(half, means=half["means"] * torch.tensor([-1.0, -1.0, 1.0]))
    janus = {key: torch.cat([half[key], back[key]]) for key in half}
    assert judged(janus, BEAR, SETTINGS, CPU)["multi_face"] == 1.0


def test_a_grey_ball_and_a_blur_are_none_of_these(bear: Splats) -> None:
    ball = dict(bear, means=torch.nn.functional.normalize(bear["means"], dim=-1) * 0.6)
    ball["colors"] = torch.zeros_like(ball["colors"])
    assert judged(ball, BEAR, SETTINGS, CPU)["category"] == 0.0
    haze = dict(bear, scales=bear["scales"] + 2.5, opacities=bear["opacities"] - 8.0)
    assert (judged(haze, BEAR, SETTINGS, CPU)["category"] or 0.0) <= 0.25


def test_a_prompt_without_a_truth_has_no_figures(bear: Splats) -> None:
    assert evaluate(bear, "a marble wizard", SETTINGS, CPU) == dict.fromkeys(NAMES)


def test_arcs_of_fronts() -> None:
    def arcs(*azimuths: int) -> int:
        is_front = torch.zeros(24, dtype=torch.bool)
        is_front[[azimuth // 15 for azimuth in azimuths]] = True
        return front_arcs(is_front)

    assert arcs() == 0
    assert arcs(0) == 1
    assert arcs(345, 0, 15) == 1  # across the seam
    assert arcs(345, 15) == 1  # one wrong answer in between
    assert arcs(0, 180) == 2
    assert arcs(0, 15, 120, 135, 240) == 3
    assert arcs(*range(0, 360, 15)) == 1


def test_bins_off_goes_round() -> None:
    assert bins_off(torch.tensor([7, 1, 2, 3, 4, 5, 6, 3])).tolist() == [1, 0, 0, 0, 0, 0, 0, 4]


def test_chamfer_forgives_a_similarity_and_nothing_else() -> None:
    truth = truth_points(BEAR, 8000)
    other = np.asarray(trimesh.sample.sample_surface(true_mesh(BEAR), 8000, seed=5)[0])
    floor = chamfer(other, truth)  # two samplings of one surface
    assert floor < 0.01
    turn = trimesh.transformations.rotation_matrix(0.25, [0, 0, 1])[:3, :3]
    assert chamfer(0.6 * other @ turn.T + [0.2, -0.1, 0.3], truth) < 1.3 * floor
    car = truth_points(Toy("car", "red"), 8000)
    assert chamfer(car, truth) > 4 * floor
    squashed = other * [1.0, 1.0, 0.6]
    assert chamfer(squashed, truth) > 2 * floor


def test_chamfer_sees_a_mirrored_mug() -> None:
    mug = Toy("mug", "red")
    truth = truth_points(mug, 8000)
    mirrored = truth_points(mug, 8000) * [1.0, -1.0, 1.0]
    assert chamfer(mirrored, truth) > chamfer(truth, truth) + 0.02


def test_chamfer_from_a_written_mesh(bear: Splats, tmp_path: Path) -> None:
    from stabledreamer_core.mesh import write_mesh

    mesh = load_config(overrides=["mesh.views=24", "mesh.resolution=64"]).mesh
    path = tmp_path / "mesh.glb"
    write_mesh(bear, mesh, path, CPU)
    distance = evaluate(bear, "a red bear wearing a blue top hat", SETTINGS, CPU, path)["chamfer"]
    assert distance is not None and distance < 0.02
