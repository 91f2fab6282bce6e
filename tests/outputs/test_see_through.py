"""What lets light through: how opaque it is, its mesh, and its pictures."""

import json
import math
import struct

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from stabledreamer.cli.options import RunOptions
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.mesh.read import read_glb
from stabledreamer_core.assets.see_through import (
    measure_opacity,
    set_alpha,
    thicken,
    told,
    write_asset_mesh,
)
from stabledreamer_core.assets.splats.ply import load_ply, save_ply
from stabledreamer_core.assets.turntable import write_preview
from stabledreamer_core.scene.gaussians import init_ball
from stabledreamer_core.settings.output import Mesh

RADIUS = 0.5
SMALL = Mesh(views=16, view_resolution=48, resolution=40, texture=False)
CLEAR = SMALL.model_copy(update={"see_through": True})


def jelly(opacity: float, count: int = 1500):
    return init_ball(count, RADIUS, 0.06, opacity, torch.Generator().manual_seed(0))


def materials(path) -> list[dict]:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + length])["materials"]


def test_one_gaussian_across_the_view_is_as_opaque_as_it_says(device):
    """A flat, wide one covers every pixel with its own opacity."""
    one = {
        "means": torch.zeros(1, 3),
        "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        "scales": torch.full((1, 3), 50.0).log(),
        "opacities": torch.logit(torch.tensor([0.37])),
        "colors": torch.zeros(1, 3),
    }
    assert measure_opacity(one, device) == pytest.approx(0.37, abs=2e-3)


def test_opacity_grows_with_the_gaussians_and_nothing_has_none(nothing, device):
    found = [measure_opacity(jelly(opacity), device) for opacity in (0.02, 0.04, 0.9)]
    assert found == sorted(found) and found[0] < 0.6 and found[-1] > 0.97
    assert measure_opacity(nothing, device) == 0.0


def test_thickening_follows_the_law_of_absorption():
    """Transmittance to the k-th power, in float64; k brings .4 to .97."""
    splats = {"opacities": torch.logit(torch.tensor([0.001, 0.1, 0.4, 0.9], dtype=torch.float64))}
    k = math.log(0.03) / math.log(0.6)
    expected = [1 - (1 - a) ** k for a in (0.001, 0.1, 0.4, 0.9)]
    assert thicken(splats, 0.4)["opacities"].sigmoid().tolist() == pytest.approx(expected, abs=1e-6)


def test_the_mesh_of_jelly_is_where_it_begins_and_as_opaque(tmp_path, device):
    """An opaque mesh of depths amid the jelly loses half of the ball; this one is the ball."""
    ball, path = jelly(0.02), tmp_path / "mesh.glb"
    facts = write_asset_mesh(ball, CLEAR, path, device)
    assert facts["surface"] == "see-through" and facts["watertight"]
    assert facts["opacity"] == pytest.approx(measure_opacity(ball, device), abs=1e-3)
    (material,) = materials(path)
    assert material["alphaMode"] == "BLEND"
    *color, alpha = material["pbrMetallicRoughness"]["baseColorFactor"]
    assert color == [1.0, 1.0, 1.0] and alpha == pytest.approx(facts["opacity"], abs=1e-3)
    assert radius_of(path) == pytest.approx(RADIUS, rel=0.05)
    assert "of that opacity" in told(facts, asked=True)

    facts = write_asset_mesh(ball, SMALL, path, device)
    assert facts["surface"] == "opaque" and "alphaMode" not in materials(path)[0]
    assert radius_of(path) < 0.8 * RADIUS
    assert "--translucent" in told(facts, asked=False)


def radius_of(path) -> float:
    """Of a ball of the mesh's volume, in world units."""
    surface = read_glb(path)
    volume = trimesh.Trimesh(surface.vertices, surface.faces, process=False).volume
    return (0.75 * volume / math.pi) ** (1 / 3)


def test_what_is_solid_stays_so_whatever_is_asked(tmp_path, device):
    plain, asked = tmp_path / "plain.glb", tmp_path / "asked.glb"
    facts = [
        write_asset_mesh(jelly(0.9), settings, path, device)
        for settings, path in ((SMALL, plain), (CLEAR, asked))
    ]
    assert facts[0] == facts[1] and facts[0]["surface"] == "opaque"
    assert told(facts[0], asked=False) is None and "made it solid" in told(facts[1], asked=True)
    assert plain.read_bytes() == asked.read_bytes()


def test_nothing_and_what_is_not_finite_have_an_empty_mesh(nothing, tmp_path, device):
    broken = jelly(0.02, count=20)
    broken["opacities"][:] = math.nan
    for splats in (nothing, broken):
        with pytest.warns(UserWarning, match="no surface"):
            facts = write_asset_mesh(splats, CLEAR, tmp_path / "mesh.glb", device)
        assert (facts["opacity"], facts["surface"], facts["faces"]) == (0.0, "opaque", 0)
        assert told(facts, asked=True) is None


def test_alpha_changes_the_material_alone(tmp_path, device):
    path = tmp_path / "mesh.glb"
    textured = SMALL.model_copy(update={"texture": True, "texture_resolution": 64})
    for settings in (SMALL, textured):
        write_asset_mesh(jelly(0.9), settings, path, device)
        before, size = read_glb(path), path.stat().st_size
        set_alpha(path, 0.25)
        set_alpha(path, 0.5)
        after = read_glb(path)
        assert np.array_equal(before.vertices, after.vertices)
        assert np.array_equal(before.faces, after.faces)
        assert np.allclose(before.colors, after.colors)
        assert path.stat().st_size < size + 200
        assert materials(path)[0]["pbrMetallicRoughness"]["baseColorFactor"][3] == 0.5


def test_a_ply_lets_through_as_much(tmp_path, device):
    ball = jelly(0.03)
    save_ply(ball, tmp_path / "gaussians.ply")
    again = measure_opacity(load_ply(tmp_path / "gaussians.ply"), device)
    assert again == pytest.approx(measure_opacity(ball, device), abs=1e-4)


def test_one_sees_the_checkers_through_jelly(config, nothing, tmp_path, device):
    """By the share of light that passes; a black and a white background tell that share."""
    path = tmp_path / "preview.png"

    def preview(splats, background, checkers=False):
        more = {"preview_resolution": 64, "background": background, "checkers": checkers}
        write_preview(splats, config.turntable.model_copy(update=more), path, device)
        return np.asarray(Image.open(path)).astype(float) / 255

    ball = jelly(0.02)
    grey = (0.8, 0.8, 0.8)
    behind = preview(nothing, grey, checkers=True)
    assert sorted(set(behind.round(2).flat)) == [0.64, 0.8]
    black, white = preview(ball, (0.0, 0.0, 0.0)), preview(ball, (1.0, 1.0, 1.0))
    passes = white - black
    assert passes[:, :128].min() < 0.6  # the ball is there
    seen = preview(ball, grey, checkers=True)
    assert np.abs(seen - (black + passes * behind)).max() < 3 / 255
    assert np.array_equal(preview(ball, grey), preview(ball, grey, checkers=False))


def test_translucent_is_one_word_and_what_is_set_beside_it_wins():
    config = load_config(overrides=RunOptions(translucent=True).settings)
    assert config.stage1.regularizers.opacity == config.stage2.regularizers.opacity == 0.0
    assert config.mesh.see_through and config.turntable.checkers
    asked = RunOptions(translucent=True, overrides=("turntable.checkers=false",))
    assert not load_config(overrides=asked.settings).turntable.checkers
    assert load_config(overrides=RunOptions().settings) == load_config()
