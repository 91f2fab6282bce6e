"""The commands on a finished asset: dream again, evaluate and debug."""

import json
import shutil
import time

import pytest
from PIL import Image

from cli.main import main


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


@pytest.mark.parametrize("stage", ["1", "2"])
def test_debug_draws_what_the_prior_sees(asset, tmp_path, stage):
    path = tmp_path / "debug.png"
    arguments = ["--stage", stage, "--noise", "0.3", "0.7", "--out", str(path)]
    assert main(["debug", str(asset), *arguments]) == 0
    with Image.open(path) as picture:
        assert picture.height == 7 * 128  # the render, and three rows a noise level


def test_debug_refuses_noise_levels_out_of_range(asset, capsys):
    assert main(["debug", str(asset), "--noise", "2"]) == 2
    assert "--noise" in capsys.readouterr().err


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
