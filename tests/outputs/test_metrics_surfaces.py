"""Figures of surfaces against closed forms, and against toys that are wrong in known ways."""

import numpy as np
import pytest
import trimesh

from stabledreamer_core.errors import UserError
from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from stabledreamer_core.metrics.alignment import ALL_TURNS_DEG, SMALL_TURNS_DEG, similarity
from stabledreamer_core.metrics.surfaces import (
    Gaps,
    chamfer,
    f_score,
    gaps,
    load_surface,
    normal_consistency,
    surface_metrics,
    volume_ratio,
)
from toybox.catalogue import Toy
from toybox.mesh import true_mesh

SAMPLES = 4000


@pytest.fixture(scope="module")
def bear():
    return true_mesh(Toy("bear", "red"), resolution=64)


@pytest.fixture(scope="module")
def mug():
    return true_mesh(Toy("mug", "red"), resolution=64)


def moved(mesh, scale=1.0, turn_deg=0.0, shift=(0.0, 0.0, 0.0)):
    copy = mesh.copy()
    copy.apply_transform(trimesh.transformations.rotation_matrix(np.deg2rad(turn_deg), [0, 0, 1]))
    copy.apply_scale(scale)
    copy.apply_translation(shift)
    return copy


def mirrored(mesh, axis):
    copy = mesh.copy()
    copy.vertices[:, axis] *= -1
    copy.invert()
    return copy


def figures(mesh, truth, turns_deg=SMALL_TURNS_DEG):
    return surface_metrics(mesh, truth, SAMPLES, 0.02, turns_deg)


def test_size_place_and_a_small_turn_are_forgiven(bear):
    assert chamfer(bear, bear, SAMPLES) < 1e-6
    other = moved(bear, scale=0.6, turn_deg=20.0, shift=(0.1, -0.2, 0.1))
    assert chamfer(other, bear, SAMPLES) < 1e-4


def test_another_variation_is_near_and_another_toy_far(bear, mug):
    variation = true_mesh(Toy("bear", "red"), variation_seed=3, resolution=64)
    assert 0.002 < chamfer(variation, bear, SAMPLES) < 0.015
    car = true_mesh(Toy("car", "red"), resolution=64)
    assert chamfer(car, bear, SAMPLES) > 0.05
    assert chamfer(mug, bear, SAMPLES) > 0.05


def test_the_wrong_way_round_is_seen(bear, mug):
    assert chamfer(mirrored(bear, 0), bear, SAMPLES) > 0.03  # faces backwards
    assert chamfer(mirrored(mug, 1), mug, SAMPLES) > 0.02  # handle on the other side
    assert chamfer(moved(bear, turn_deg=180.0), bear, SAMPLES) > 0.03
    assert chamfer(moved(bear, turn_deg=180.0), bear, SAMPLES, ALL_TURNS_DEG) < 1e-3
    # a quarter turn that the search would walk back, step by step, if it were let
    assert chamfer(moved(mug, turn_deg=90.0), mug, SAMPLES) > 0.02


def test_distances_between_two_balls_in_closed_form():
    """From the inner ball's surface it is the difference of the radii everywhere."""
    there = gaps(trimesh.creation.icosphere(4, 0.8), trimesh.creation.icosphere(4), 1000)
    assert there.distances == pytest.approx(0.2, abs=0.004)
    assert there.cosines == pytest.approx(1.0, abs=0.005)  # flat facets, not quite in line


def test_a_ball_against_a_cube_by_numerical_integration():
    """Best scale, and the mean of both mean distances, from dense samples of the closed forms."""
    ball, cube = trimesh.creation.icosphere(4), trimesh.creation.box()
    sides = trimesh.sample.sample_surface(cube, 20000, seed=0)[0]
    rays = ball.vertices / np.linalg.norm(ball.vertices, axis=1, keepdims=True)

    def both_ways(radius):
        outside = np.abs(np.linalg.norm(sides, axis=1) - radius).mean()
        offset = np.abs(radius * rays) - 0.5
        apart = np.linalg.norm(offset.clip(0), axis=1)
        return 0.5 * (outside + np.where(apart > 0, apart, -offset.max(1)).mean())

    best = min(both_ways(radius) for radius in np.linspace(0.5, 0.75, 51))
    assert chamfer(ball, cube, SAMPLES) == pytest.approx(best, rel=0.06)


def test_the_unit_is_the_truths_longest_side(bear):
    car = true_mesh(Toy("car", "red"), resolution=64)
    small, large = chamfer(car, bear, SAMPLES), chamfer(car, moved(bear, scale=3.0), SAMPLES)
    assert large == pytest.approx(small, rel=0.02)


def test_similarity_finds_what_was_done(bear):
    """Other samples of the same surface, so the pairs have to be found."""
    points = trimesh.sample.sample_surface(bear, 3000, seed=1)[0]
    done = moved(bear, scale=1.7, turn_deg=-12.0, shift=(0.3, 0.1, -0.5))
    target = trimesh.sample.sample_surface(done, 3000, seed=2)[0]
    fit = similarity(points, target, (0.0,))
    assert np.linalg.det(fit[:3, :3]) ** (1 / 3) == pytest.approx(1.7, rel=0.01)
    assert np.rad2deg(np.arctan2(fit[1, 0], fit[0, 0])) == pytest.approx(-12.0, abs=1.0)
    assert fit[:3, 3] == pytest.approx([0.3, 0.1, -0.5], abs=0.02)


def test_surface_is_read_back_in_the_world_frame(bear, tmp_path):
    write_glb(tmp_path / "m.glb", Surface(bear.vertices, bear.vertex_normals, bear.faces))
    surface = load_surface(tmp_path / "m.glb")
    assert surface.bounds == pytest.approx(bear.bounds, abs=1e-6)
    assert chamfer(surface, bear, SAMPLES) < 1e-5


def test_an_empty_file_has_no_surface_and_a_damaged_one_is_said(tmp_path):
    nothing = np.zeros((0, 3))
    write_glb(tmp_path / "empty.glb", Surface(nothing, nothing, nothing.astype(int)))
    assert load_surface(tmp_path / "empty.glb") is None
    (tmp_path / "damaged.glb").write_bytes(b"glTF" + bytes(40))
    with pytest.raises(UserError, match="cannot be read"):
        load_surface(tmp_path / "damaged.glb")


def test_a_copy_is_equal_in_every_way(bear):
    other = moved(bear, scale=0.6, turn_deg=20.0, shift=(0.1, -0.2, 0.1))
    found = figures(other, bear)
    assert found["chamfer"] < 1e-4
    assert found["f_score"] == 1.0
    assert found["normal_consistency"] > 0.999
    assert found["volume_ratio"] == pytest.approx(1.0, abs=0.005)


def test_f_score_is_the_harmonic_mean_of_both_shares():
    there = Gaps(np.array([0.0, 0.01, 0.03, 0.03]), np.ones(4))
    back = Gaps(np.array([0.0, 0.0, 0.0, 0.03]), np.ones(4))
    assert f_score(there, back, 0.02) == pytest.approx(2 * 0.5 * 0.75 / (0.5 + 0.75))
    assert f_score(there, back, 0.0) == 0.0


def test_two_plates_an_arms_length_apart_by_the_threshold():
    """A square and one as large 0.1 above it: all within 0.11, nothing within 0.09."""
    plate = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    above = moved(plate, shift=(0.0, 0.0, 0.1))
    there, back = gaps(plate, above, 500), gaps(above, plate, 500)
    assert (f_score(there, back, 0.11), f_score(there, back, 0.09)) == (1.0, 0.0)
    assert normal_consistency(there, back) == pytest.approx(1.0)
    tilted = plate.copy()
    tilted.apply_transform(trimesh.transformations.rotation_matrix(np.deg2rad(30.0), [1, 0, 0]))
    there, back = gaps(plate, tilted, 500), gaps(tilted, plate, 500)
    assert normal_consistency(there, back) == pytest.approx(np.cos(np.deg2rad(30.0)), abs=1e-6)


def test_normals_in_random_directions_agree_by_half():
    """The mean of |cos| over the sphere is 1/2: points of a ball against one plate below it."""
    ball = trimesh.creation.icosphere(4)
    far = 1e3
    plate = trimesh.Trimesh(
        [[-far, -far, -2], [far, -far, -2], [far, far, -2], [-far, far, -2]], [[0, 1, 2], [0, 2, 3]]
    )
    assert gaps(ball, plate, 20000).cosines.mean() == pytest.approx(0.5, abs=0.01)


def test_volume_ratio_in_closed_form():
    box = trimesh.creation.box((1.0, 2.0, 3.0))
    assert volume_ratio(trimesh.creation.box((1.0, 1.0, 3.0)), box) == pytest.approx(0.5)
    half = trimesh.Trimesh(box.vertices, box.faces[:6])
    assert volume_ratio(half, box) is None


def test_ripple_costs_normals_and_thinness_costs_volume(bear):
    """Each broken mesh loses by the figure that is there to see it."""
    random = np.random.default_rng(0).normal(0.0, 0.015, (len(bear.vertices), 1))
    ripple = trimesh.Trimesh(bear.vertices + random * bear.vertex_normals, bear.faces)
    thin = trimesh.Trimesh(bear.vertices - 0.04 * bear.vertex_normals, bear.faces)
    rippled, thinned = figures(ripple, bear), figures(thin, bear)
    assert rippled["normal_consistency"] < 0.75 < 0.85 < thinned["normal_consistency"]
    assert thinned["volume_ratio"] < 0.85 < 0.97 < rippled["volume_ratio"] < 1.03
    assert thinned["f_score"] < 0.9 < 0.99 < rippled["f_score"]


def test_another_toy_fails_by_every_figure_but_volume(bear, mug):
    found = figures(mug, bear)
    assert found["f_score"] < 0.3
    assert found["normal_consistency"] < 0.8
