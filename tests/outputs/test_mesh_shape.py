"""The mesh against the surfaces the Gaussians were laid on: closed, exact, robust."""

import json
import struct

import numpy as np
import open3d as o3d
import pytest
import torch
import trimesh

from stabledreamer_core.scene.cameras import around
from stabledreamer_core.scene.gaussians import init_ball
from stabledreamer_core.assets.mesh.extract import write_mesh
from stabledreamer_core.assets.mesh.read import read_mesh, world_vertices
from stabledreamer_core.scene.rendering import render_chunks

QUICK = {
    "views": 40,
    "view_resolution": 128,
    "resolution": 64,
    "faces": 8000,
    "texture": False,
    "lite_faces": 0,
}
PIXEL = 0.018  # world units, at these settings


@pytest.fixture
def settings(config):
    return config.mesh.model_copy(update=QUICK)


def load(path):
    """The only mesh of a GLB, in the world frame."""
    mesh = read_mesh(path)
    mesh.vertices = world_vertices(mesh)
    return mesh


def scene_of(mesh):
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.array(mesh.vertices, np.float32)),
        o3d.core.Tensor(np.array(mesh.faces, np.uint32)),
    )
    return scene


def distances(points, mesh):
    """From each point to the nearest point of the surface."""
    return scene_of(mesh).compute_distance(o3d.core.Tensor(np.array(points, np.float32))).numpy()


def outlines(mesh, views):
    """[C, R, R] whether the ray through each pixel's centre meets the mesh."""
    scene, side = scene_of(mesh), views.resolution
    hits = []
    for K, viewmat in zip(views.Ks.double(), views.viewmats.double(), strict=True):
        rays = scene.create_rays_pinhole(K.numpy(), viewmat.numpy(), side, side)
        hits.append(np.isfinite(scene.cast_rays(rays)["t_hit"].numpy()))
    return np.stack(hits)


def bowl():
    """A cylinder with a wide round hole from above."""
    profile = [[0, -0.3], [0.6, -0.3], [0.6, 0.2], [0.48, 0.2], [0.48, -0.1], [0, -0.1]]
    return trimesh.creation.revolve(np.array(profile), sections=64)


SHAPES = {
    "ball": lambda: trimesh.creation.icosphere(4, 0.6),
    "box": lambda: trimesh.creation.box((1.0, 0.8, 0.6)),
    "ring": lambda: trimesh.creation.torus(0.5, 0.18),
    "bowl": bowl,
}


@pytest.mark.parametrize("name", SHAPES)
def test_closed_and_close_to_the_true_surface(name, cover, settings, tmp_path, device):
    """Within a pixel, here also a cell: the pictures hold no more."""
    truth = SHAPES[name]()
    facts = write_mesh(
        cover(truth, count=8000, size=0.025), settings, tmp_path / "mesh.glb", device
    )
    mesh = load(tmp_path / "mesh.glb")
    counts = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
    assert facts == counts | {"watertight": True, "lit": False}
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert mesh.euler_number == truth.euler_number  # a ring keeps its hole, a ball gets none
    there = distances(mesh.vertices, truth)
    back = distances(trimesh.sample.sample_surface(truth, 2000, seed=0)[0], mesh)
    assert there.mean() < PIXEL and back.mean() < PIXEL
    assert abs(mesh.volume - truth.volume) < PIXEL * truth.area


def test_ball_volume_in_closed_form(cover, config, tmp_path, device):
    """At the shipped settings: 4/3 pi r^3 within 2 %, radius within 1 %."""
    ball = cover(trimesh.creation.icosphere(5, 0.6), count=12000)
    shape = config.mesh.model_copy(update={"texture": False})
    write_mesh(ball, shape, tmp_path / "mesh.glb", device)
    mesh = load(tmp_path / "mesh.glb")
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.02)
    assert np.linalg.norm(mesh.vertices, axis=1).mean() == pytest.approx(0.6, rel=0.01)


def test_one_soft_gaussian_is_the_ball_one_sees(nothing, settings, tmp_path, device):
    """Its opacity falls to one half where o exp(-d^2 / 2 s^2) does: at s sqrt(2 ln 2 o)."""
    size, opacity = 0.2, 0.99
    one = {key: value.new_zeros(1, *value.shape[1:]) for key, value in nothing.items()}
    one["quats"][0, 0] = 1.0
    one["scales"] += np.log(size)
    one["opacities"] += np.log(opacity / (1 - opacity))
    write_mesh(one, settings, tmp_path / "mesh.glb", device)
    radii = np.linalg.norm(load(tmp_path / "mesh.glb").vertices, axis=1)
    expected = size * np.sqrt(2 * np.log(2 * opacity))
    assert radii.mean() == pytest.approx(expected, abs=0.5 * PIXEL)
    assert np.abs(radii - expected).max() < PIXEL


@pytest.mark.parametrize("opacity", [0.1, 0.3])
def test_a_soft_body_is_as_large_as_it_looks(opacity, settings, tmp_path, device):
    """Outlines of the mesh and of the Gaussians, from new cameras, within about two pixels."""
    soft = init_ball(3000, 0.5, 0.05, opacity, torch.Generator().manual_seed(0))
    facts = write_mesh(soft, settings, tmp_path / "mesh.glb", device)
    assert facts["watertight"]
    views = around(4, 20.0, 3.0, 40.0, 128)
    shown = torch.cat([alpha for _, alpha in render_chunks(soft, views, (0, 0, 0), device)])
    seen = outlines(load(tmp_path / "mesh.glb"), views)
    drawn = shown[..., 0].numpy() >= 0.5
    overlap = (seen & drawn).sum() / (seen | drawn).sum()
    assert overlap > 0.88, overlap


def test_face_count_is_about_what_was_asked(cover, settings, tmp_path, device):
    ball = cover(SHAPES["ball"]())
    asked = settings.model_copy(update={"faces": 3000})
    facts = write_mesh(ball, asked, tmp_path / "mesh.glb", device)
    assert facts["watertight"] and abs(facts["faces"] - 3000) <= 60


def test_a_gap_in_the_gaussians_is_closed(cover, settings, tmp_path, device):
    """The inside of a shell is seen through a small gap; the mesh stays a ball."""
    ball = cover(SHAPES["ball"]())
    keep = ball["means"][:, 0] < 0.597
    facts = write_mesh(
        {key: value[keep] for key, value in ball.items()}, settings, tmp_path / "m.glb", device
    )
    mesh = load(tmp_path / "m.glb")
    assert facts["watertight"]
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.05)


def test_floaters_are_dropped_and_large_pieces_kept(cover, settings, tmp_path, device):
    def at(radius, x):
        ball = cover(trimesh.creation.icosphere(3, radius), count=int(20000 * radius**2))
        return ball | {"means": ball["means"] + torch.tensor([x, 0.0, 0.0])}

    parts = (at(0.35, -0.4), at(0.25, 0.35), at(0.05, 0.8))
    splats = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    write_mesh(splats, settings, tmp_path / "mesh.glb", device)
    mesh = load(tmp_path / "mesh.glb")
    assert mesh.is_watertight and mesh.body_count == 2
    assert mesh.bounds[:, 0] == pytest.approx([-0.75, 0.6], abs=0.03)


@pytest.mark.parametrize("kind", ["none", "transparent", "not finite"])
def test_nothing_to_see_is_said_and_leaves_a_valid_empty_file(
    kind, nothing, cover, settings, tmp_path, device
):
    splats = cover(SHAPES["ball"](), count=200)
    if kind == "none":
        splats = nothing
    elif kind == "transparent":
        splats["opacities"] = torch.full_like(splats["opacities"], -10.0)
    else:
        splats["means"] = torch.full_like(splats["means"], torch.nan)
    with pytest.warns(UserWarning, match="no surface"):
        facts = write_mesh(splats, settings, tmp_path / "mesh.glb", device)
    assert facts == {"vertices": 0, "faces": 0, "watertight": False, "lit": False}
    data = (tmp_path / "mesh.glb").read_bytes()
    magic, version, total, length = struct.unpack("<4sIII", data[:16])
    assert (magic, version, total) == (b"glTF", 2, len(data))
    assert "meshes" not in json.loads(data[20 : 20 + length])


def test_same_gaussians_same_bytes(cover, settings, tmp_path, device):
    settings = settings.model_copy(update={"views": 16, "resolution": 32})
    box = cover(SHAPES["box"](), count=2000, size=0.04)
    for name in ("a.glb", "b.glb"):
        write_mesh(box, settings, tmp_path / name, device)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()
