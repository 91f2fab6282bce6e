"""What the search found, one small input each: refused in one clear line ever since."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.prompts_file import read_prompts
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from stabledreamer_core.assets.mesh.read import read_glb
from stabledreamer_core.assets.splats.ply import load_ply, save_ply
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import load_checkpoint
from stabledreamer_core.priors import load_prior
from stabledreamer_core.scene.gaussians import init_ball
from stabledreamer_core.settings.yaml_text import parse_yaml
from stabledreamer_core.tensor_files import save_tensors
from tasks import run_record
from tasks.asset_folder import check_owner, lock_asset

LEVELS = "".join(f"l{n + 1}: &l{n + 1} [{', '.join([f'*l{n}'] * 9)}]\n" for n in range(12))
BOMB = "l0: &l0 [x, x]\n" + LEVELS


def scene() -> dict[str, torch.Tensor]:
    return init_ball(4, 0.5, 0.05, 0.1, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "value",
    ["2001-99-99", "!!bool maybe", "0b_", "9" * 5000, "[" * 3000, ".nan", "2001-01-01", "{1: 2}"]
    + ["!!set {a}", "!!binary aGk=", '"\\ud800"', '"\\0"', "&x [*x]", "!!python/name:os.system"],
)
def test_yaml_that_is_no_setting(value: str) -> None:
    with pytest.raises(UserError, match="--set"):
        load_config(None, [f"training.odd={value}"])


def test_yaml_that_is_one() -> None:
    text = "a: [1, -2.5, true, null, text, 'ä\\n']\nb: {c: 1.0e+3}"
    assert parse_yaml(text) == {"a": [1, -2.5, True, None, "text", "ä\\n"], "b": {"c": 1000.0}}


def test_a_bomb_of_aliases(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMB)
    for read in (load_config, read_prompts):
        with pytest.raises(UserError, match="aliases"):
            read(tmp_path / "bomb.yaml")


def test_a_setting_name_without_end() -> None:
    for key in ("a" * 10**5, "training" + ".a" * 5000):
        with pytest.raises(UserError) as told:
            load_config(None, [f"{key}=1"])
        assert len(str(told.value)) < 1000


@pytest.mark.parametrize("target", ["/dev/zero", "pipe", "."])
def test_what_is_no_file_is_not_opened(target: str, tmp_path: Path, tiny_if: Path) -> None:
    odd = tmp_path / "odd"
    if target == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(target)
    for read in (load_ply, load_config, read_prompts, load_checkpoint, read_glb):
        with pytest.raises(UserError, match="odd"):
            read(odd)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    broken = scene()
    broken["means"][0, 0] = float("nan")
    save_tensors(tmp_path / "a.safetensors", broken, {})
    with pytest.raises(UserError, match="means"):
        load_checkpoint(tmp_path / "a.safetensors")
    save_ply(scene(), tmp_path / "a.ply")
    data = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(data[:-4] + np.float32("nan").tobytes())
    with pytest.raises(UserError, match="finite"):
        load_ply(tmp_path / "a.ply")


def test_a_record_without_end(tmp_path: Path) -> None:
    for text in ("[" * 200_000, json.dumps({"files": []}), json.dumps({"steps": {"mesh": 3}})):
        (tmp_path / "run.json").write_text(text)
        assert run_record.read(tmp_path) is None


@pytest.mark.parametrize("name", ["stage1", ".prompt.json", "mesh.glb"])
def test_an_asset_with_a_link_out_of_it(name: str, tmp_path: Path) -> None:
    out, beside = tmp_path / "asset", tmp_path / "beside"
    out.mkdir()
    with lock_asset(out, "a red bear", 0):
        pass
    (out / name).unlink(missing_ok=True)
    (out / name).symlink_to(beside)
    with pytest.raises(UserError, match="is a link"):
        check_owner(out, "a red bear", 0)
    assert not beside.exists()


def _bomb(data: bytes) -> bytes:
    at = data.index(b"IHDR") + 4
    return data[:at] + (2**16).to_bytes(4, "big") * 2 + data[at + 8 :]


def small_mesh(path: Path) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float64)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    picture = np.zeros((8, 8, 3), np.uint8)
    write_glb(path, Surface(corners, corners, faces, None, corners[:, :2], picture))


@pytest.mark.parametrize(
    "damage",
    [_bomb, lambda data: data.replace(b'"count": 4', b'"count":-1'), lambda data: data[:20]],
    ids=["picture bomb", "count", "cut"],
)
def test_a_hostile_mesh(damage, tmp_path: Path) -> None:
    small_mesh(tmp_path / "a.glb")
    data = (tmp_path / "a.glb").read_bytes().replace(b'"count":4', b'"count": 4')
    (tmp_path / "a.glb").write_bytes(damage(data))
    with pytest.raises(UserError, match=r"a\.glb"):
        read_glb(tmp_path / "a.glb")


@pytest.mark.parametrize(
    ("file", "key", "value", "word"),
    [
        ("unet/config.json", "layers_per_block", 10**9, "layers_per_block"),
        ("unet/config.json", "sample_size", None, "shape"),
        ("unet/config.json", "_class_name", "DiffusionPipeline", "_class_name"),
        (
            "unet/config.json",
            "block_out_channels",
            [10**6, 10**6],
            "config.json describes a network",
        ),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 10**12, "num_train_timesteps"),
        ("scheduler/scheduler_config.json", "beta_schedule", "mine", "scheduler"),
        ("scheduler/scheduler_config.json", "trained_betas", 0.5, "no noise schedule"),
        ("model_index.json", "tokenizer", ["antigravity", "T5Tokenizer"], "antigravity"),
    ],
)
def test_a_prior_that_describes_too_much(file, key, value, word, tiny_if, tmp_path) -> None:
    import shutil

    there = tmp_path / "prior"
    shutil.copytree(tiny_if, there)
    settings = json.loads((there / file).read_text()) | {key: value}
    (there / file).write_text(json.dumps(settings))
    with pytest.raises(UserError, match=word):
        prior = load_prior(str(there))
        prior.predict_eps(torch.zeros(1, 3, 16, 16), torch.tensor([3]), torch.zeros(1, 4, 16))


def test_a_mesh_file_of_two_meshes(tmp_path: Path) -> None:
    import trimesh

    from stabledreamer_core.metrics.surfaces import load_surface

    boxes = [trimesh.creation.box(), trimesh.creation.icosphere(1)]
    trimesh.Scene(boxes).export(tmp_path / "a.glb")
    with pytest.raises(UserError, match="2 meshes"):
        load_surface(tmp_path / "a.glb")


def test_a_mesh_with_a_long_word_for_a_number(tmp_path: Path) -> None:
    from stabledreamer_core.metrics.surfaces import load_surface

    small_mesh(tmp_path / "a.glb")
    data = (tmp_path / "a.glb").read_bytes()
    start, end = 20, 20 + int.from_bytes(data[12:16], "little")
    document = json.loads(data[start:end])
    document["materials"][0]["pbrMetallicRoughness"]["roughnessFactor"] = "a" * 10**4
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = data[:8] + (start + len(text) + len(data) - end).to_bytes(4, "little")
    chunk = len(text).to_bytes(4, "little") + data[16:20] + text
    (tmp_path / "a.glb").write_bytes(head + chunk + data[end:])
    with pytest.raises(UserError, match=r"a\.glb") as told:
        load_surface(tmp_path / "a.glb")
    assert len(str(told.value)) < 1500


def test_a_prior_with_a_long_word_for_a_kind_of_prediction(tiny_if: Path, tmp_path: Path) -> None:
    import shutil

    there = tmp_path / "prior"
    shutil.copytree(tiny_if, there)
    file = there / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "é" * 2000}))
    with pytest.raises(UserError, match="prediction_type") as told:
        load_prior(str(there))
    assert "epsilon" in str(told.value), "what is allowed is at the end"
    assert len(str(told.value)) < 1500
