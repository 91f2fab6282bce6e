"""Hostile files and folders: priors, checkpoints, resume states, PLY, GLB and whole assets."""

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.robustness.fuzz_values import altered, as_json, damaged, pickled
from stabledreamer.cli.evaluate import config_of
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from stabledreamer_core.assets.mesh.read import read_glb
from stabledreamer_core.assets.splats.ply import PLY_FIELDS, load_ply, save_ply
from stabledreamer_core.optimization.checkpoint import load_checkpoint, save_checkpoint
from stabledreamer_core.optimization.resume import load_newest
from stabledreamer_core.scene.density import FixedCount
from stabledreamer_core.scene.gaussians import KEYS, init_ball
from stabledreamer_core.tensor_files import save_tensors
from tasks import ledger, run_record
from tasks.asset_folder import clear_work, lock_asset
from tasks.job import Job
from tasks.keys import STEPS

Call = Callable[[], object]
PRIORS: list[Path] = []  # whole, tiny folders that hostile ones are made from


def prior(rng: random.Random, folder: Path) -> Call:
    """A prior's folder, up to one prediction."""
    from stabledreamer_core.priors import load_prior

    there = folder / "prior"
    shutil.copytree(rng.choice(PRIORS), there)
    files = sorted(path for path in there.rglob("*") if path.is_file())
    file = rng.choice(files)
    kind = rng.randrange(8)
    if kind <= 3:
        file = rng.choice([path for path in files if path.suffix == ".json"])
        file.write_bytes(as_json(rng, json.loads(file.read_text())))
    elif kind == 4:
        file.write_bytes(damaged(rng, file.read_bytes()))
    elif kind == 5:
        weights = rng.choice([path for path in files if path.suffix == ".safetensors"])
        name = rng.choice((weights.name, f"{weights.stem}.bin", "pytorch_model.bin"))
        weights.unlink()
        (weights.parent / name).write_bytes(pickled())
    elif kind == 6:
        file.unlink()
        link = rng.choice(("/etc/passwd", "/dev/zero", "/nowhere", file.name, "..", "/dev/tty"))
        if rng.random() < 0.5:
            file.symlink_to(link)
    else:
        weights = rng.choice([path for path in files if path.suffix == ".safetensors"])
        weights.write_bytes(_safetensors_header(rng, weights.read_bytes()))

    def read() -> None:
        opened = load_prior(str(there))
        embedding = opened.embed(["a bear"])
        x = torch.zeros(1, *opened.sample_shape)
        opened.predict_eps(x, torch.tensor([len(opened.schedule) // 2]), embedding)
        if opened.space == "latent":
            opened.encode(torch.zeros(1, 3, opened.resolution, opened.resolution))

    return read


def _safetensors_header(rng: random.Random, data: bytes) -> bytes:
    """The same file with a header that lies."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.dumps(altered(rng, json.loads(data[8 : 8 + length]))).encode()
    said = rng.choice((len(header), len(header), len(header) + 1, 2**63, 0))
    return struct.pack("<Q", said) + header + data[8 + length :]


def _scene() -> dict[str, torch.Tensor]:
    return init_ball(5, 0.5, 0.05, 0.1, torch.Generator().manual_seed(0))


def _odd_tensors(rng: random.Random, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Some of them missing, misshapen, of another type, or not numbers; others added."""
    out = dict(tensors)
    for _ in range(rng.choice((1, 1, 2))):
        key = rng.choice(sorted(out)) if out else "means"
        old = out.get(key, torch.zeros(1))
        kind = rng.randrange(8)
        if kind == 0:
            out.pop(key, None)
        elif kind == 1:
            out[key] = old.reshape(-1)[: rng.randrange(3)].clone()
        elif kind == 2:
            kinds = (torch.float64, torch.int64, torch.bool, torch.float16, torch.uint8)
            out[key] = old.to(rng.choice(kinds))
        elif kind == 3:
            number = rng.choice((float("nan"), float("inf"), -1e38))  # integers cannot hold it
            out[key] = torch.full_like(old if old.is_floating_point() else old.float(), number)
        elif kind == 4:
            out[key] = torch.zeros(())
        elif kind == 5:
            out[rng.choice(("../../x", "", "\n", "adam.means.step", "target.Ks"))] = torch.ones(2)
        elif kind == 6:
            out[key] = old[None].clone()
        else:
            out[key] = torch.zeros(0, *old.shape[1:])
    return out


def checkpoint(rng: random.Random, folder: Path) -> Call:
    """A finished stage's file; half of them with a digest that is right."""
    file = folder / "gaussians.safetensors"
    if rng.random() < 0.5:
        save_tensors(file, _odd_tensors(rng, _scene()), {})
    else:
        save_checkpoint(file, _scene(), {"prompt": "a bear"})
        data = file.read_bytes()
        wrong = (damaged(rng, data), _safetensors_header(rng, data), pickled(), b"")
        file.write_bytes(rng.choice(wrong))

    def read() -> None:
        splats, _ = load_checkpoint(file)
        count = len(splats["means"])
        assert all(len(splats[key]) == count for key in KEYS)
        assert all(splats[key].dtype == torch.float32 for key in KEYS), "another type of numbers"
        assert all(splats[key].isfinite().all() for key in KEYS), "numbers that are none"

    return read


def state(rng: random.Random, folder: Path) -> Call:
    """Resume states, of which the newest is hostile, up to the loop's own objects."""
    stage, whole = load_config().stage1, _whole_state()
    good = {"key": "k", "seconds": "1.000", "step": "10", "rate": "1.0"}
    save_tensors(folder / "state-00000010.safetensors", whole, good)
    newest = folder / "state-00000020.safetensors"
    kind = rng.random()
    if kind < 0.6:
        odd = ("", "x", "nan", "-1", "1e9", "9" * 5000, "1.5")
        metadata = good | {"step": "20"}
        if rng.random() < 0.4:
            metadata[rng.choice(("seconds", "step", "key", "rate"))] = rng.choice(odd)
        if rng.random() < 0.2:
            metadata.pop(rng.choice(("seconds", "step", "key", "rate")))
        tensors = _odd_tensors(rng, whole) if rng.random() < 0.7 else whole
        save_tensors(newest, tensors, metadata)
    elif kind < 0.9:
        newest.write_bytes(damaged(rng, (folder / "state-00000010.safetensors").read_bytes()))
    else:
        newest.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", newest.name)))

    def read() -> None:
        found = load_newest(folder, "k", stage, FixedCount(), torch.device("cpu"))
        assert found is not None
        assert found[0].step >= 0 and 0.0 <= found[0].rate <= 1.0 and found[1] >= 0.0

    return read


def _whole_state() -> dict[str, torch.Tensor]:
    tensors = _scene()
    for key in KEYS:
        tensors[f"adam.{key}.step"] = torch.tensor(10.0)
        tensors[f"adam.{key}.exp_avg"] = torch.zeros_like(tensors[key])
        tensors[f"adam.{key}.exp_avg_sq"] = torch.zeros_like(tensors[key])
    return tensors


def ply(rng: random.Random, folder: Path) -> Call:
    """A PLY of Gaussians."""
    file = folder / "gaussians.ply"
    save_ply(_scene(), file)
    data = file.read_bytes()
    header, _, body = data.partition(b"end_header\n")
    kind = rng.randrange(6)
    if kind == 0:
        data = damaged(rng, data)
    elif kind == 1:
        data = damaged(rng, header) + b"end_header\n" + body
    elif kind == 2:
        counts = (b"0", b"-1", b"4", b"6", b"99999999999", b"9" * 5000, b"1e3", "²".encode(), b"")
        data = data.replace(b"vertex 5", b"vertex " + rng.choice(counts))
    elif kind == 3:
        table = np.frombuffer(body, "<f4").copy()
        table[rng.randrange(len(table))] = rng.choice((np.nan, np.inf, -np.inf, 3e38))
        data = header + b"end_header\n" + table.tobytes()
    elif kind == 4:
        old, new = rng.choice(PLY_FIELDS), rng.choice((*PLY_FIELDS, "", "f_rest_0", "x y"))
        wanted, put = f"property float {old}\n", rng.choice(("float", "double", "list uchar int"))
        data = data.replace(wanted.encode(), f"property {put} {new}\n".encode())
    file.write_bytes(data)
    if kind == 5:
        file.unlink()
        target = rng.choice(("/dev/zero", "/dev/tty", "/nowhere", ".", "fifo"))
        if target == "fifo":
            os.mkfifo(file)
        else:
            file.symlink_to(target)

    def read() -> None:
        splats = load_ply(file)
        assert all(splats[key].isfinite().all() for key in KEYS), "numbers that are none"

    return read


def glb(rng: random.Random, folder: Path) -> Call:
    """mesh.glb as the report and the evaluation read it."""
    from stabledreamer_core.metrics.surfaces import load_surface

    file = folder / "mesh.glb"
    write_glb(file, _surface(rng.random() < 0.5))
    data = file.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    tree, body = json.loads(data[20 : 20 + length]), data[20 + length :]
    if rng.random() < 0.25:
        file.write_bytes(damaged(rng, data))
    else:
        if rng.random() < 0.2:
            hostile = {"byteLength": 100, "uri": rng.choice(("../../x", "/etc/passwd", "data:x"))}
            tree["buffers"] = [hostile]
        picture = rng.random() < 0.3 and b"IHDR" in body
        if picture:
            at = body.index(b"IHDR") + 4
            side = struct.pack(">II", *rng.choices((0, 1, 2**14, 2**16, 2**31 - 1), k=2))
            body = body[:at] + side + body[at + 8 :]
        described = json.dumps(tree).encode() if picture else as_json(rng, tree)
        described += b" " * (-len(described) % 4)
        total = 20 + len(described) + len(body)
        head = struct.pack("<III", 0x46546C67, 2, total)
        file.write_bytes(head + struct.pack("<I", len(described)) + b"JSON" + described + body)

    def read() -> None:
        surface = read_glb(file)
        if surface is not None:
            assert len(surface.faces) == 0 or surface.faces.max() < len(surface.vertices)
            assert np.isfinite(surface.vertices).all() and surface.vertices.shape[1] == 3
        load_surface(file)

    return read


def _surface(textured: bool) -> Surface:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float64)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    if textured:
        picture = np.full((8, 8, 3), 99, np.uint8)
        return Surface(corners, corners, faces, None, corners[:, :2], picture)
    return Surface(corners, corners, faces, np.full((4, 3), 0.5))


def asset(rng: random.Random, folder: Path) -> Call:
    """A folder that says it is an asset of ours; what lies beside it must not change."""
    config = load_config(quick=True)
    out, beside = folder / "asset", folder.parent / "beside"
    (out / "stage1" / "work").mkdir(parents=True)
    beside.mkdir(exist_ok=True)
    (beside / "work").mkdir(exist_ok=True)
    (beside / "work" / "precious").write_text("precious")
    record: dict[str, Any] = {
        "prompt": "a red bear", "seed": 0, "config": config.model_dump(mode="json"),
        "stages": {"stage1": {}, "stage2": {}}, "metrics": {"category": 1.0},
        "files": {path: "0" * 64 for step in STEPS.values() for path in step.outputs},
        "steps": {name: {"key": "0" * 64} for name in STEPS},
    }  # fmt: skip
    hostile = as_json(rng, record)
    if rng.random() < 0.2:
        record["files"] = {rng.choice(("../../x", "/etc/passwd", "\0")): "0" * 64}
        hostile = json.dumps(record).encode()
    (out / "run.json").write_bytes(hostile)
    if rng.random() < 0.5:
        entry = {"key": "0" * 64, "files": record["files"], "facts": {}}
        (out / ledger.NAME).write_bytes(as_json(rng, dict.fromkeys(STEPS, entry)))
    owner = {"prompt": "a red bear", "seed": 0}
    (out / ".prompt.json").write_bytes(as_json(rng, owner) if rng.random() < 0.5 else b"")
    if rng.random() < 0.5:
        _links(rng, out, beside)

    job = Job("a red bear", 0, config, out)

    def read() -> None:
        with lock_asset(out, "a red bear", 0):
            found = run_record.read_asset(out)
            ledger.lacking(job)
            ledger.add(out, "mesh", "0" * 64, {"files": {}, "facts": {}})
            run_record.remove(out)
            for number in (1, 2):
                save_checkpoint(out / f"stage{number}" / "gaussians.safetensors", _scene(), {})
                work = out / f"stage{number}" / "work"
                save_checkpoint(work / "state-00000001.safetensors", _scene(), {"key": "k"})
                clear_work(out, "stage1" if number == 1 else "stage2")
            assert (beside / "work" / "precious").exists(), "a file beside the asset is gone"
            config_of(out, found)

    return read


def _links(rng: random.Random, out: Path, beside: Path) -> None:
    """Replace something in the asset by a link out of it."""
    name = rng.choice(
        ("stage1", "stage2", "stage1/work", ".prompt.json", ".steps.json", "mesh.glb")
    )
    place = out / name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    targets = (beside, beside / "work", beside / "work" / "precious", beside / "new", "/dev/zero")
    place.symlink_to(rng.choice(targets))
