"""The GLB file: axes, colours, texture, and that other software reads the same."""

import json
import struct
import sys

import numpy as np
import pytest
import trimesh

from stabledreamer_core.assets.mesh.extract import write_mesh
from stabledreamer_core.assets.mesh.glb import (
    Surface,
    from_gltf_axes,
    linear_to_srgb,
    srgb_to_linear,
    to_gltf_axes,
    write_glb,
)
from stabledreamer_core.errors import UserError

QUICK = {"views": 40, "view_resolution": 128, "resolution": 64, "faces": 8000}


def colour_of(points):
    """A colour for each place: red forwards, green to the left, blue upwards."""
    return np.clip(points / 1.2 + 0.5, 0.05, 0.95)


@pytest.fixture(scope="module")
def ball(cover):
    return cover(trimesh.creation.icosphere(4, 0.6), colour_of)


@pytest.fixture(scope="module")
def ball_file(ball, config, device, tmp_path_factory):
    path = tmp_path_factory.mktemp("mesh") / "mesh.glb"
    write_mesh(ball, config.mesh.model_copy(update=QUICK), path, device)
    return path


def parts(path):
    """The JSON and the binary chunk of a GLB."""
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def test_axes_are_rotated_not_mirrored():
    up, front = np.array([[0.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 0.0]])
    assert to_gltf_axes(up).tolist() == [[0, 1, 0]]
    assert to_gltf_axes(front).tolist() == [[0, 0, 1]]
    assert np.linalg.det(to_gltf_axes(np.eye(3))) == pytest.approx(1.0)
    points = np.random.default_rng(0).normal(size=(5, 3))
    assert np.array_equal(from_gltf_axes(to_gltf_axes(points)), points)


def test_srgb_is_the_standards():
    """Values from IEC 61966-2-1: 0.5 is 0.2140 of the light, the join is at 0.04045."""
    assert srgb_to_linear(np.array([0.0, 0.04045, 0.5, 1.0])) == pytest.approx(
        [0.0, 0.0031308, 0.2140411, 1.0], abs=1e-6
    )
    steps = np.arange(256) / 255
    assert linear_to_srgb(srgb_to_linear(steps)) == pytest.approx(steps, abs=1e-9)


def test_file_stands_upright_and_shows_the_same_colours(ball_file):
    (mesh,) = trimesh.load(ball_file).geometry.values()
    shown = linear_to_srgb(mesh.visual.vertex_attributes["color"][:, :3] / 65535)
    # glTF: +Y up (blue), +Z in front (red), so +X is the toy's left (green).
    assert mesh.vertices[shown[:, 2].argmax(), 1] > 0.55
    assert mesh.vertices[shown[:, 0].argmax(), 2] > 0.55
    assert mesh.vertices[shown[:, 1].argmax(), 0] > 0.55
    assert np.abs(shown - colour_of(from_gltf_axes(mesh.vertices))).mean() < 0.02


def test_normals_point_outwards(ball_file):
    (mesh,) = trimesh.load(ball_file).geometry.values()
    outwards = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    cosines = (mesh.vertex_normals * outwards).sum(1)
    assert cosines.mean() > 0.98 and cosines.min() > 0.3, (cosines.mean(), cosines.min())
    assert mesh.volume > 0


def test_material_is_unlit_because_the_light_is_in_the_colours(ball_file):
    tree, _ = parts(ball_file)
    assert tree["materials"][0]["extensions"] == {"KHR_materials_unlit": {}}
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"]


def test_file_keeps_glTFs_rules(tmp_path):
    """Chunks and views on four bytes, bounds of positions, vertex views' targets."""
    solid = trimesh.creation.icosphere(1)
    surface = Surface(
        solid.vertices, solid.vertex_normals, solid.faces, np.full((len(solid.vertices), 3), 0.5)
    )
    write_glb(tmp_path / "m.glb", surface)
    tree, binary = parts(tmp_path / "m.glb")
    assert len(binary) % 4 == 0 and tree["buffers"] == [{"byteLength": len(binary)}]
    for view in tree["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(binary)
    position, *_, index = tree["accessors"]
    assert (position["min"], position["max"]) == ([-1.0] * 3, [1.0] * 3)
    assert index["count"] == 3 * len(solid.faces)
    assert [view["target"] for view in tree["bufferViews"]] == [34962] * 3 + [34963]


def test_texture_holds_display_values_and_closes_when_merged(ball, config, tmp_path, device):
    settings = config.mesh.model_copy(update=QUICK | {"texture": True, "texture_resolution": 256})
    facts = write_mesh(ball, settings, tmp_path / "mesh.glb", device)
    assert facts["watertight"]
    (mesh,) = trimesh.load(tmp_path / "mesh.glb").geometry.values()
    picture = mesh.visual.material.baseColorTexture
    assert picture.size == (256, 256)
    shown = mesh.visual.to_color().vertex_colors[:, :3] / 255
    assert np.abs(shown - colour_of(from_gltf_axes(mesh.vertices))).mean() < 0.03
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight


def test_a_texture_without_xatlas_is_told_and_colours_need_none(
    ball, config, tmp_path, device, monkeypatch
):
    monkeypatch.setitem(sys.modules, "xatlas", None)
    settings = config.mesh.model_copy(update=QUICK)
    assert write_mesh(ball, settings, tmp_path / "mesh.glb", device)["watertight"]
    with pytest.raises(UserError, match="pip install xatlas"):
        asked = settings.model_copy(update={"texture": True})
        write_mesh(ball, asked, tmp_path / "textured.glb", device)
