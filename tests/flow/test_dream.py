"""The whole flow, small: what it leaves, what it makes anew and what it keeps."""

import json
import shutil
from pathlib import Path

import pytest

from stabledreamer.runtime.settings import TRANSLUCENT
from stabledreamer_core.assets import formats
from stabledreamer_core.errors import UserError
from stabledreamer_core.files import sha256_of
from tasks.keys import STAGE1, STAGE2

MESHES = {"mesh.glb", "asset-light.glb"}
OUTPUTS = {STAGE1, STAGE2, "gaussians.ply", "turntable.mp4", "preview.png"} | MESHES
PAGES = {"run.json", "report.html"}


@pytest.fixture(scope="module")
def finished(make, tmp_path_factory) -> Path:
    """An asset nobody changes."""
    out = tmp_path_factory.mktemp("finished") / "asset"
    make(out)
    return out


@pytest.fixture
def asset(finished, tmp_path) -> Path:
    """A copy of it to play with."""
    return Path(shutil.copytree(finished, tmp_path / "asset"))


def files_of(out: Path) -> set[str]:
    return {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def remade(out: Path, run) -> set[str]:
    """The files that `run` wrote: each is put in place of the old one, so it is another inode."""
    before = {name: (out / name).stat().st_ino for name in files_of(out)}
    kept_alive = [open(out / name, "rb") for name in before]  # or a freed inode could come again
    run()
    after = {name: (out / name).stat().st_ino for name in files_of(out)}
    for file in kept_alive:
        file.close()
    return {name for name in after if before.get(name) != after[name]}


def test_leaves_a_whole_asset_and_nothing_else(finished):
    assert files_of(finished) == OUTPUTS | PAGES
    assert not (finished / "stage1" / "work").exists()


def test_run_json_says_what_how_and_at_what_cost(finished):
    record = json.loads((finished / "run.json").read_text())
    assert (record["prompt"], record["seed"]) == ("a red bear", 0)
    assert record["config"]["stage1"]["iterations"] == 6
    assert record["packages"]["torch"] and record["code"]["hash"] and record["device"]
    for stage, iterations in (("stage1", 6), ("stage2", 4)):
        cost = record["stages"][stage]
        assert cost["iterations"] == iterations
        assert cost["seconds"] > 0 and cost["iterations_per_second"] > 0
        assert cost["peak_memory_bytes"] > 0
    assert set(record["files"]) == OUTPUTS | {"report.html"}
    for name, sha256 in record["files"].items():
        assert sha256_of(finished / name) == sha256
    assert isinstance(record["metrics"], dict)


def test_again_makes_nothing(asset, make):
    assert remade(asset, lambda: make(asset)) == set()


@pytest.mark.parametrize("name", ["mesh.glb", "preview.png", "gaussians.ply", "turntable.mp4"])
def test_a_deleted_output_is_made_again_alone(asset, make, name):
    (asset / name).unlink()
    step = MESHES if name in MESHES else {name}  # what one step writes
    assert remade(asset, lambda: make(asset)) == step | PAGES


def test_an_altered_output_is_made_again_alone(asset, make):
    before = (asset / "preview.png").read_bytes()
    (asset / "preview.png").write_bytes(before[:-1] + b"x")
    assert remade(asset, lambda: make(asset)) == {"preview.png"} | PAGES
    assert (asset / "preview.png").read_bytes() == before


def test_a_deleted_report_is_made_again_alone(asset, make):
    (asset / "report.html").unlink()
    assert remade(asset, lambda: make(asset)) == PAGES


def test_a_damaged_stage_gives_the_same_bits_again_and_keeps_what_follows(asset, make):
    before = (asset / STAGE1).read_bytes()
    (asset / STAGE1).write_bytes(before[:100])
    assert remade(asset, lambda: make(asset)) == {STAGE1} | PAGES
    assert (asset / STAGE1).read_bytes() == before


def test_a_mesh_setting_makes_the_mesh_alone(asset, make):
    change = ["mesh.resolution=20"]
    assert remade(asset, lambda: make(asset, overrides=change)) == MESHES | PAGES
    assert remade(asset, lambda: make(asset)) == MESHES | PAGES  # and back


def test_a_see_through_mesh_says_so_in_run_json(asset, make):
    """Of the solid asset's stages: pictures and mesh alone are made again."""
    solid = json.loads((asset / "run.json").read_text())["mesh"]
    assert solid["surface"] == "opaque" and 0.0 < solid["opacity"] <= 1.0
    change = [one for one in TRANSLUCENT if not one.startswith("stage")]
    made = remade(asset, lambda: make(asset, overrides=change))
    assert made >= {"preview.png", "turntable.mp4", "mesh.glb"} and not made & {STAGE1, STAGE2}
    clear = json.loads((asset / "run.json").read_text())["mesh"]
    seen_through = solid["opacity"] < 0.9
    assert clear["surface"] == ("see-through" if seen_through else "opaque")
    assert clear["opacity"] == solid["opacity"]
    assert (b'"alphaMode":"BLEND"' in (asset / "mesh.glb").read_bytes()) == seen_through


def test_formats_are_written_beside_the_rest_and_kept(asset, make):
    change = ["export.formats=[sog, gltf, stl]"]
    files = {"gaussians.sog", "gaussians.glb", "mesh.stl"}
    assert remade(asset, lambda: make(asset, overrides=change)) == files | PAGES
    assert files <= set(json.loads((asset / "run.json").read_text())["files"])
    assert "gaussians.sog (" in (asset / "report.html").read_text()  # too many to be inside
    (asset / ".steps.json").unlink()  # run.json knows them too
    assert remade(asset, lambda: make(asset, overrides=change)) == set()
    (asset / "gaussians.sog").write_bytes(b"damaged")
    assert remade(asset, lambda: make(asset, overrides=change)) == files | PAGES


def test_a_missing_library_is_told_before_the_run(make, monkeypatch, tmp_path):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="spz needs packages"):
        make(tmp_path / "asset", overrides=["export.formats=[spz]"])
    assert not (tmp_path / "asset").exists()


def test_a_stage_2_setting_keeps_stage_1(asset, make):
    change = ["stage2.iterations=3"]
    everything_after = (OUTPUTS | PAGES) - {STAGE1}
    assert remade(asset, lambda: make(asset, overrides=change)) == everything_after


def test_another_folder_gets_the_same_bits_and_leaves_the_first_alone(finished, make, tmp_path):
    assert remade(finished, lambda: make(tmp_path / "second")) == set()
    for name in (STAGE1, STAGE2, "gaussians.ply", "mesh.glb"):
        assert (tmp_path / "second" / name).read_bytes() == (finished / name).read_bytes()
    assert remade(finished, lambda: make(finished)) == set()


def test_a_lost_record_is_written_again_from_what_is_cached(asset, make):
    (asset / "run.json").write_text("{")
    assert remade(asset, lambda: make(asset)) == PAGES


def test_an_asset_without_its_hidden_files_is_known_by_run_json(asset, make):
    (asset / ".steps.json").unlink()
    assert remade(asset, lambda: make(asset)) == set()
    assert remade(asset, lambda: make(asset, overrides=["mesh.resolution=20"])) == (MESHES | PAGES)
