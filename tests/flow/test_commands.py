"""The commands on a finished asset: dream again, evaluate and debug."""

import json
import shutil
import time

import pytest
from PIL import Image

from stabledreamer.cli.main import main


@pytest.fixture(scope="module")
def asset(make, tmp_path_factory):
    out = tmp_path_factory.mktemp("asset") / "asset"
    make(out)
    return out


def written(asset):
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in asset.rglob("*")
        if path.is_file()
    }


def test_dream_again_takes_seconds_and_makes_nothing(asset, params, capsys):
    before = written(asset)
    began = time.monotonic()
    assert main(["dream", "a red bear", "--params", str(params), "--out", str(asset)]) == 0
    assert time.monotonic() - began < 20.0
    assert capsys.readouterr().out == f"already finished: {asset}\n"
    assert written(asset) == before


def test_evaluate_prints_the_records_metrics(asset, capsys):
    assert main(["evaluate", str(asset), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((asset / "run.json").read_text())["metrics"]
    assert main(["evaluate", str(asset)]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in printed)


def test_export_writes_and_checks(asset, tmp_path, capsys):
    before = written(asset)
    command = ["export", str(asset), "--format", "gltf", "obj,sog", "--out", str(tmp_path)]
    assert main([*command, "--check"]) == 0
    gltf, obj, sog = capsys.readouterr().out.splitlines()
    assert float(gltf.split()[3]) > float(sog.split()[3]) > 40.0 and "dB" not in obj
    files = {"gaussians.sog", "gaussians.glb", "mesh.obj", "mesh.mtl", "mesh.png"}
    assert {path.name for path in tmp_path.iterdir()} == files
    assert written(asset) == before


@pytest.fixture(scope="module")
def recorded(make, tmp_path_factory):
    """The same asset, recorded while it was made."""
    out = tmp_path_factory.mktemp("recorded") / "asset"
    make(out, overrides=["debug.every=2", "debug.many_steps=2"])
    return out


def test_recording_a_run_leaves_its_bits_and_its_keys_alone(asset, recorded, params, capsys):
    plain, watched = (json.loads((out / "run.json").read_text()) for out in (asset, recorded))
    pages = {"report.html"}
    assert set(plain["files"]) == set(watched["files"])
    for name in set(plain["files"]) - pages:
        assert plain["files"][name] == watched["files"][name], name
    assert plain["steps"] == watched["steps"]
    assert (recorded / "debug/stage1/step-000003.png").is_file()  # target_reuse is 3 in both
    assert (recorded / "debug/stage2/step-000003.png").is_file()
    assert "during the run" in (recorded / "report.html").read_text()
    assert not (asset / "debug").exists()
    again = ["dream", "a red bear", "--params", str(params), "--set", "debug.every=2"]
    assert main([*again, "--out", str(recorded)]) == 0
    assert capsys.readouterr().out == f"already finished: {recorded}\n"
    assert main([*again, "--out", str(asset)]) == 0
    assert "give another --out" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["1", "2"])
def test_debug_draws_what_the_prior_sees_and_leaves_the_asset_alone(asset, tmp_path, stage):
    path, before = tmp_path / "debug.png", written(asset)
    arguments = ["--stage", stage, "--noise", "0.3", "0.7", "--out", str(path)]
    assert main(["debug", str(asset), *arguments, "--set", "debug.many_steps=0"]) == 0
    with Image.open(path) as picture:
        assert picture.size == (150 + 4 * 128, 24 + 4 * 2 * 128)  # four views, two levels
    assert written(asset) == before


def test_debug_puts_what_it_draws_into_the_report(recorded, params, tmp_path, capsys):
    asset = shutil.copytree(recorded, tmp_path / "asset")
    for levels in (["0.3", "0.7"], ["0.5"]):
        assert main(["debug", str(asset), "--video", "--noise", *levels]) == 0
    names = ["debug/stage1.png", "debug/stage1.mp4", "debug-stage1.png", "report.html"]
    assert capsys.readouterr().out.splitlines() == [str(asset / name) for name in names] * 2
    levels = sorted(path.name for path in (asset / "debug/stage1").glob("level-*"))
    assert levels == ["level-0.500.json", "level-0.500.png"]
    assert "Stage 1, its result" in (asset / "report.html").read_text()
    again = ["dream", "a red bear", "--params", str(params), "--out", str(asset)]
    assert main(again) == 0  # the changed page counts as whole
    assert capsys.readouterr().out == f"already finished: {asset}\n"


def test_debug_takes_settings_of_an_unfinished_asset_for_those_alone(asset, params, capsys):
    assert main(["debug", str(asset), "--params", str(params)]) == 2
    assert "--set" in capsys.readouterr().err


def test_settings_of_another_version_are_told(asset, tmp_path, capsys):
    old = shutil.copytree(asset, tmp_path / "old")
    record = json.loads((old / "run.json").read_text())
    del record["config"]["stage1"]["iterations"]
    (old / "run.json").write_text(json.dumps(record))
    assert main(["evaluate", str(old)]) == 2
    assert "make it again" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_no_asset_is_told(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "no finished asset" in capsys.readouterr().err
