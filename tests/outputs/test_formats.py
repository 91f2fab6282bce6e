"""Formats: what was written is read back to the same picture, by the libraries' own readers."""

import importlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh

from stabledreamer_core.assets import formats
from stabledreamer_core.assets.fidelity import pictures, psnr_of
from stabledreamer_core.assets.formats import MESHES, NAMES, SPLATS, export, named_formats
from stabledreamer_core.assets.mesh.glb import Surface, srgb_to_linear, write_glb
from stabledreamer_core.assets.splats.frames import GLTF, VIEWER, rotate
from stabledreamer_core.errors import UserError
from stabledreamer_core.scene.cameras import Views, around
from stabledreamer_core.scene.gaussians import Splats, finite
from stabledreamer_core.scene.rendering import render_chunks
from stabledreamer_core.seeds import generator
from tasks.keys import EXPORTS

LEAST_DB = {"ply": 100.0, "gltf": 100.0}  # those that lose nothing; the others: 40 dB


@pytest.fixture(scope="module")
def splats() -> Splats:
    """Anisotropic, of all colours and opacities, and unlike itself from every side."""
    noise = generator("formats")

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=noise)

    means = randn(600, 3) * torch.tensor([0.3, 0.15, 0.25]) + torch.tensor([0.1, 0.0, -0.1])
    scene = {
        "means": means,
        "quats": 2.0 * randn(600, 4),
        "scales": -3.0 + 0.7 * randn(600, 3),
        "opacities": 2.0 * randn(600),
        "colors": 1.5 * randn(600, 3) + 3.0 * means,
    }
    scene["means"][7, 1] = float("nan")  # is left out
    return scene


def surface(textured: bool) -> Surface:
    ball = trimesh.creation.icosphere(2, 0.6)
    points = np.asarray(ball.vertices) * (1.0, 0.7, 0.5)
    colors = np.random.default_rng(0).uniform(size=points.shape)
    if not textured:
        return Surface(points, np.asarray(ball.vertex_normals), ball.faces, colors)
    texture = np.random.default_rng(1).integers(0, 256, (8, 16, 3), np.uint8)
    uvs = (points[:, :2] + 1.0) / 2.0
    return Surface(points, np.asarray(ball.vertex_normals), ball.faces, None, uvs, texture)


@pytest.fixture(params=[False, True], ids=["vertices", "texture"])
def mesh(request, tmp_path: Path) -> tuple[Surface, Path]:
    made = surface(request.param)
    write_glb(tmp_path / "mesh.glb", made)
    return made, tmp_path / "mesh.glb"


@pytest.mark.parametrize("name", SPLATS)
def test_splats_are_read_back_to_the_same_picture(name, splats, tmp_path: Path) -> None:
    kind = SPLATS[name]
    for module in (*kind.needs, *kind.load_needs):
        pytest.importorskip(module)
    assert export([name], splats, tmp_path / "no.glb", tmp_path) == {name: (kind.file,)}
    back = kind.load(tmp_path / kind.file)
    assert len(back["means"]) == 599
    assert psnr_of(finite(splats), back) > LEAST_DB.get(name, 40.0)
    turned = {**back, "means": back["means"][:, [1, 0, 2]]}
    assert psnr_of(finite(splats), turned) < 30.0  # another frame would be seen


@pytest.mark.parametrize(
    ("frame", "camera"),
    [(VIEWER, [1.0, 1.0, 1.0, 1.0]), (GLTF, [1.0, -1.0, -1.0, 1.0])],
    ids=["y down, seen along +z", "y up, seen along -z"],
)
def test_the_front_is_upright_before_the_camera_of_the_frame(frame, camera, splats) -> None:
    front = around(1, 0.0, 3.2, 40.0, 128)
    viewmat = torch.diag(torch.tensor(camera))
    viewmat[2, 3] = 3.2
    theirs = replace(front, viewmats=viewmat[None])

    def picture(scene: Splats, views: Views) -> torch.Tensor:
        ((renders, _),) = render_chunks(scene, views, (0.5, 0.5, 0.5), torch.device("cpu"))
        return renders

    torch.testing.assert_close(
        picture(rotate(finite(splats), frame), theirs), picture(splats, front), atol=1e-3, rtol=0.0
    )


def test_psnr_is_that_of_the_pictures(splats) -> None:
    other = {**splats, "colors": splats["colors"] + 0.1}
    error = (pictures(splats) - pictures(other)).numpy()
    assert psnr_of(splats, other) == pytest.approx(-10 * np.log10(np.mean(error**2)))


def test_gltf_is_what_khronos_says(splats, tmp_path: Path) -> None:
    export(["gltf"], splats, tmp_path / "no.glb", tmp_path)
    content = (tmp_path / "gaussians.glb").read_bytes()
    tree = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    (primitive,) = tree["meshes"][0]["primitives"]
    assert tree["extensionsUsed"] == ["KHR_gaussian_splatting"]
    assert primitive["mode"] == 0
    assert primitive["extensions"]["KHR_gaussian_splatting"] == {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
    }
    types = {name: tree["accessors"][at]["type"] for name, at in primitive["attributes"].items()}
    assert types == {
        "POSITION": "VEC3",
        "COLOR_0": "VEC4",
        "KHR_gaussian_splatting:ROTATION": "VEC4",
        "KHR_gaussian_splatting:SCALE": "VEC3",
        "KHR_gaussian_splatting:OPACITY": "SCALAR",
        "KHR_gaussian_splatting:SH_DEGREE_0_COEF_0": "VEC3",
    }
    # A program without the extension sees points: +Y up, the front towards +Z.
    (points,) = trimesh.load_scene(tmp_path / "gaussians.glb").geometry.values()
    means = finite(splats)["means"].numpy()
    np.testing.assert_allclose(points.vertices, means[:, [1, 2, 0]], atol=1e-6)
    expected = 255 * srgb_to_linear(finite(splats)["colors"].sigmoid().numpy())
    np.testing.assert_allclose(points.colors[:, :3], expected, atol=1.0)


def test_obj_has_the_mesh_and_its_colours(mesh, tmp_path: Path) -> None:
    made, glb = mesh
    files = export(["obj"], empty(), glb, tmp_path)["obj"]
    assert all((tmp_path / name).is_file() for name in files)
    back = trimesh.load_mesh(tmp_path / "mesh.obj", process=False)
    assert np.asarray(back.area) == pytest.approx(trimesh.Trimesh(made.vertices, made.faces).area)
    if made.texture is None:
        np.testing.assert_allclose(back.vertices, made.vertices[:, [1, 2, 0]], atol=1e-6)
        shown = back.visual.vertex_colors[:, :3] / 255.0
        np.testing.assert_allclose(shown, made.colors, atol=1 / 255)
    else:
        assert files == ("mesh.obj", "mesh.mtl", "mesh.png")
        assert "Kd 1.00000000 1.00000000 1.00000000" in (tmp_path / "mesh.mtl").read_text()
        np.testing.assert_array_equal(np.asarray(back.visual.material.image), made.texture)
        corners = dict(zip(map(tuple, np.round(back.vertices, 4)), back.visual.uv, strict=True))
        for point, (u, v) in zip(made.vertices[:, [1, 2, 0]], made.uvs, strict=True):
            np.testing.assert_allclose(corners[tuple(np.round(point, 4))], (u, 1 - v), atol=1e-4)


def empty() -> Splats:
    return {
        "means": torch.zeros(0, 3),
        "quats": torch.zeros(0, 4),
        "scales": torch.zeros(0, 3),
        "opacities": torch.zeros(0),
        "colors": torch.zeros(0, 3),
    }


def test_stl_stands_upright_in_millimetres(mesh, tmp_path: Path) -> None:
    made, glb = mesh
    export(["stl"], empty(), glb, tmp_path)
    back = trimesh.load_mesh(tmp_path / "mesh.stl")
    assert back.is_watertight
    assert back.volume == pytest.approx(
        50**3 * trimesh.Trimesh(made.vertices, made.faces).volume, rel=1e-5
    )
    # Our x, which the front faces, is -y of the file.
    np.testing.assert_allclose(back.extents, 100 * np.array([0.42, 0.6, 0.3]), rtol=1e-4)


def test_usdz_has_the_mesh_and_its_colours(mesh, tmp_path: Path) -> None:
    usd = pytest.importorskip("pxr.Usd")
    made, glb = mesh
    export(["usdz"], empty(), glb, tmp_path)
    stage = usd.Stage.Open(str(tmp_path / "mesh.usdz"))
    geometry = importlib.import_module("pxr.UsdGeom")
    assert geometry.GetStageUpAxis(stage) == "Y"
    toy = geometry.Mesh(stage.GetPrimAtPath("/asset/mesh"))
    points = np.array(toy.GetPointsAttr().Get())
    np.testing.assert_allclose(points, made.vertices[:, [1, 2, 0]], atol=1e-6)
    faces = np.array(toy.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    np.testing.assert_array_equal(faces, made.faces)
    primvars = geometry.PrimvarsAPI(toy)
    files = zipfile.ZipFile(tmp_path / "mesh.usdz").namelist()
    if made.texture is None:
        light = np.array(primvars.GetPrimvar("displayColor").Get())
        np.testing.assert_allclose(light, srgb_to_linear(made.colors), atol=1e-4)
        assert len(files) == 1
    else:
        uvs = np.array(primvars.GetPrimvar("st").Get())
        np.testing.assert_allclose(uvs, made.uvs * (1, -1) + (0, 1), atol=1e-6)
        assert any(name.endswith("texture.png") for name in files)
    shader = importlib.import_module("pxr.UsdShade").Material(stage.GetPrimAtPath("/asset/material"))
    assert shader.ComputeSurfaceSource()[0].GetInput("emissiveColor").HasConnectedSource()


def test_names() -> None:
    assert named_formats(["stl", "obj", "stl"]) == ["stl", "obj"]
    assert {*SPLATS, *MESHES} == set(NAMES)
    files = {kind.file for kind in (*SPLATS.values(), *MESHES.values())}
    beside = {file for kind in MESHES.values() for file in kind.beside}
    assert files | beside == {*EXPORTS, "gaussians.ply"}


def test_an_unknown_format_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="no format 'usd'; did you mean usdz"):
        named_formats(["usd"])


def test_a_missing_package_is_one_line(monkeypatch) -> None:
    missing: Callable[[str], SimpleNamespace | None] = lambda name: None  # noqa: E731
    monkeypatch.setattr(formats, "find_spec", missing)
    with pytest.raises(UserError, match=r"usdz needs .* '\.\[export\]'"):
        named_formats(["obj", "usdz"])
    assert named_formats(["sog"]) == ["sog"]
    with pytest.raises(UserError, match="sog needs"):
        named_formats(["sog"], read_back=True)


def test_nothing_to_write_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no Gaussians"):
        export(["gltf"], empty(), tmp_path / "no.glb", tmp_path)
    with pytest.raises(UserError, match=r"no\.glb"):
        export(["stl"], empty(), tmp_path / "no.glb", tmp_path)
    none = Surface(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), int))
    write_glb(tmp_path / "empty.glb", none)
    with pytest.raises(UserError, match="scene is empty"):
        export(["stl"], empty(), tmp_path / "empty.glb", tmp_path)
