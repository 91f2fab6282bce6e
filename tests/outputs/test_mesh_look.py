"""The GLB file: axes, colours, texture, and that other software reads the same."""

import json
import struct
import sys

import numpy as np
import open3d as o3d
import pytest
import torch
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
from stabledreamer_core.assets.mesh.light import Light, light_file, read_light
from stabledreamer_core.assets.mesh.read import read_mesh, world_vertices
from stabledreamer_core.errors import UserError
from stabledreamer.runtime.root import ROOT
from stabledreamer_core.metrics.surfaces import load_surface
from toybox.catalogue import Toy
from toybox.mesh import true_mesh
from toybox.render import render
from toybox.scenes import toy_batch

QUICK = {
    "views": 40,
    "view_resolution": 128,
    "resolution": 64,
    "faces": 8000,
    "texture": False,
    "texture_resolution": 256,
}


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


def shown_colors(mesh):
    """Display values on the vertices, of a texture as of colours there."""
    if "color" not in mesh.visual.vertex_attributes:
        return mesh.visual.to_color().vertex_colors[:, :3] / 255
    return linear_to_srgb(mesh.visual.vertex_attributes["color"][:, :3] / 65535)


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
    shown = shown_colors(mesh)
    # glTF: +Y up (blue), +Z in front (red), so +X is the toy's left (green). 1 m tall, on y = 0.
    assert mesh.vertices[shown[:, 2].argmax(), 1] > 0.95
    assert mesh.vertices[shown[:, 0].argmax(), 2] > 0.45
    assert mesh.vertices[shown[:, 1].argmax(), 0] > 0.45
    assert np.abs(shown - colour_of(world_vertices(mesh))).mean() < 0.02


def test_stands_on_the_origin_as_tall_as_asked_under_its_name(ball, config, tmp_path, device):
    settings = config.mesh.model_copy(update=QUICK | {"height": 0.25})
    moved = ball | {"means": ball["means"] + torch.tensor([0.1, -0.2, 0.15])}
    write_mesh(moved, settings, tmp_path / "mesh.glb", device, name="a_red_ball")
    mesh = read_mesh(tmp_path / "mesh.glb")
    low, high = mesh.bounds
    assert (low[1], high[1]) == pytest.approx((0.0, 0.25), abs=1e-6)
    assert low[[0, 2]] == pytest.approx(-high[[0, 2]], abs=1e-6)
    tree, _ = parts(tmp_path / "mesh.glb")
    assert {tree[kind][0]["name"] for kind in ("nodes", "meshes", "materials")} == {"a_red_ball"}
    assert tree["nodes"] == [{"name": "a_red_ball", "mesh": 0}]  # nothing to apply on import
    # What measures it and what exports it find it where the Gaussians are.
    for vertices in (load_surface(tmp_path / "mesh.glb").vertices, world_vertices(mesh)):
        assert vertices.mean(0) == pytest.approx([0.1, -0.2, 0.15], abs=0.02)
        assert np.ptp(vertices, 0) == pytest.approx([1.2] * 3, abs=0.05)


def test_a_file_from_before_is_where_its_vertices_say():
    mesh = trimesh.creation.icosphere(1)
    assert np.array_equal(world_vertices(mesh), from_gltf_axes(mesh.vertices))
    mesh.metadata["metres"] = 0.0
    with pytest.raises(UserError, match="extras are damaged"):
        world_vertices(mesh)


def test_normals_point_outwards(ball_file):
    (mesh,) = trimesh.load(ball_file).geometry.values()
    outwards = mesh.vertices - mesh.vertices.mean(0)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
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
    settings = config.mesh.model_copy(update=QUICK | {"texture": True})
    facts = write_mesh(ball, settings, tmp_path / "mesh.glb", device)
    mesh = read_mesh(tmp_path / "mesh.glb")
    counts = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
    assert facts == counts | {"watertight": True, "lit": False}
    picture = mesh.visual.material.baseColorTexture
    assert picture.size == (256, 256)
    shown = shown_colors(mesh)
    assert np.abs(shown - colour_of(world_vertices(mesh))).mean() < 0.03
    assert (np.asarray(picture) > 0).mean() > 0.99  # no black between the pieces
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight


SUN = Light((1.0, 0.0, 2.0), 0.4, 1.0)


@pytest.mark.parametrize("texture", [False, True], ids=["vertices", "texture"])
def test_known_light_is_taken_out_of_the_colours(texture, cover, config, tmp_path, device):
    """A grey ball under a light is grey all over again; under the same light it looks the same."""
    ball = trimesh.creation.icosphere(4, 0.6)
    shaded = cover(ball, lambda points: 0.7 * SUN.shade(points / 0.6).repeat(3, 1))
    settings = config.mesh.model_copy(update=QUICK | {"texture": texture})
    facts = write_mesh(shaded, settings, tmp_path / "mesh.glb", device, light=SUN)
    tree, _ = parts(tmp_path / "mesh.glb")
    assert facts["lit"] and "extensionsUsed" not in tree
    assert tree["materials"][0]["pbrMetallicRoughness"].items() >= {
        "metallicFactor": 0.0,
        "roughnessFactor": 1.0,
    }.items()
    mesh = read_mesh(tmp_path / "mesh.glb")
    paint = shown_colors(mesh)
    assert np.median(paint) == pytest.approx(0.7, abs=0.01) and paint.std() < 0.04
    unlit = settings.model_copy(update={"material": "unlit"})
    assert not write_mesh(shaded, unlit, tmp_path / "mesh.glb", device, light=SUN)["lit"]
    mesh = read_mesh(tmp_path / "mesh.glb")
    assert shown_colors(mesh).std() > 0.1


def test_lit_without_a_known_light_keeps_the_colours(ball, config, tmp_path, device):
    settings = config.mesh.model_copy(update=QUICK | {"material": "lit"})
    assert write_mesh(ball, settings, tmp_path / "mesh.glb", device)["lit"]
    mesh = read_mesh(tmp_path / "mesh.glb")
    assert np.abs(shown_colors(mesh) - colour_of(world_vertices(mesh))).mean() < 0.02


def test_what_is_behind_a_soft_outline_keeps_its_colour(cover, config, tmp_path, device):
    """A red ball in front of a blue wall: no purple on the wall."""
    wall = trimesh.creation.box((0.2, 1.2, 1.2))
    ball = cover(trimesh.creation.icosphere(3, 0.25), red, count=600, size=0.05)
    ball["means"] += torch.tensor([0.35, 0.0, 0.0])
    behind = cover(wall, lambda points: np.tile([0.1, 0.1, 0.9], (len(points), 1)))
    both = {key: torch.cat([ball[key], behind[key]]) for key in ball}
    settings = config.mesh.model_copy(update=QUICK | {"view_resolution": 256})
    write_mesh(both, settings, tmp_path / "mesh.glb", device)
    mesh = read_mesh(tmp_path / "mesh.glb")
    place = world_vertices(mesh)
    front = (np.abs(place[:, 0] - 0.1) < 0.02) & (np.abs(place[:, 1:]) < 0.5).all(1)
    assert (shown_colors(mesh)[front, 0] < 0.2).mean() > 0.97


def red(points):
    return np.tile([0.9, 0.1, 0.1], (len(points), 1))


def test_the_smaller_file_is_the_same_object(ball, config, tmp_path, device):
    """Unpacked by meshoptimizer itself and put in place by its node, it is the ball's surface."""
    meshopt = pytest.importorskip("meshopt")
    settings = config.mesh.model_copy(update=QUICK | {"texture": True, "lite_faces": 3000})
    lite = tmp_path / "asset-light.glb"
    facts = write_mesh(ball, settings, tmp_path / "mesh.glb", device, "a_ball", lite=lite)
    assert lite.stat().st_size < 0.25 * (tmp_path / "mesh.glb").stat().st_size
    tree, binary = parts(lite)
    assert tree["extensionsRequired"] == ["KHR_mesh_quantization", "EXT_meshopt_compression"]

    def rows(accessor, kind):
        packed = tree["bufferViews"][accessor["bufferView"]]["extensions"][
            "EXT_meshopt_compression"
        ]
        at, size = packed["byteOffset"], packed["byteLength"]
        content = binary[at : at + size]
        count, stride = packed["count"], packed["byteStride"]
        data = meshopt.decode_gltf_buffer(content, count, stride, packed["mode"])
        return np.frombuffer(np.asarray(data).tobytes(), kind).reshape(count, -1)

    (primitive,) = tree["meshes"][0]["primitives"]
    accessors = tree["accessors"]
    faces = rows(accessors[primitive["indices"]], np.uint16).reshape(-1, 3)
    (scale, _, _) = tree["nodes"][0]["scale"]
    stored = rows(accessors[primitive["attributes"]["POSITION"]], np.int16)
    small = trimesh.Trimesh(scale * stored[:, :3] / 32767, faces, process=True)
    assert facts["lite_faces"] == len(faces) <= 3000 and facts["lite_vertices"] == len(stored)
    assert small.is_watertight
    full = read_mesh(tmp_path / "mesh.glb")
    assert small.bounds == pytest.approx(full.bounds, abs=0.005)
    assert small.volume == pytest.approx(full.volume, rel=0.01)


def test_a_texture_without_xatlas_is_warned_of_and_becomes_colours(
    ball, config, tmp_path, device, monkeypatch
):
    monkeypatch.setitem(sys.modules, "xatlas", None)
    settings = config.mesh.model_copy(update=QUICK | {"texture": True})
    with pytest.warns(UserWarning, match="pip install xatlas"):
        write_mesh(ball, settings, tmp_path / "mesh.glb", device)
    mesh = read_mesh(tmp_path / "mesh.glb")
    assert np.abs(shown_colors(mesh) - colour_of(world_vertices(mesh))).mean() < 0.02


@pytest.mark.parametrize("prior", ["toybox-if", "toybox-sd", "toybox-flow"])
def test_a_bundled_priors_light_is_that_of_its_pictures(prior):
    """The true surface in its true colours under that light is what Toybox' tracer draws."""
    toy, one = Toy("bear", "red", "top hat", "blue"), torch.ones(1)
    batch = toy_batch(toy, 30.0 * one, 20.0 * one, 3.2 * one, torch.full((1, 3), 0.5))
    image = render(batch, 128)[0].permute(1, 2, 0).numpy()
    truth, views = true_mesh(toy), batch.views(128)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.array(truth.vertices, np.float32)),
        o3d.core.Tensor(np.array(truth.faces, np.uint32)),
    )
    K, viewmat = views.Ks[0].double().numpy(), views.viewmats[0].double().numpy()
    hits = scene.cast_rays(scene.create_rays_pinhole(K, viewmat, 128, 128))
    face = hits["primitive_ids"].numpy()
    hit = face != scene.INVALID_ID
    light = read_light(ROOT / "priors" / prior)
    paint = truth.visual.face_colors[face[hit], :3] / 255
    shown = paint * light.shade(truth.face_normals[face[hit]])
    error = np.abs(shown - image[hit]).max(1)
    assert hit.mean() > 0.1 and np.quantile(error, 0.8) < 0.02
    assert np.quantile(np.abs(paint - image[hit]).max(1), 0.8) > 0.1  # without the light


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"direction": [0, 0, 0], "low": 0.5, "high": 1}', '{"low": 0.5, "high": 1}'],
)
def test_a_damaged_light_is_told(text, tmp_path):
    tmp_path = tmp_path / "prior"
    assert read_light(tmp_path) is None
    light_file(tmp_path).write_text(text)
    with pytest.raises(UserError, match="light.json"):
        read_light(tmp_path)
