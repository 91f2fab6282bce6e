"""`stabledreamer priors`: what it lists, downloads, samples, and how it refuses."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

from stabledreamer.cli.main import main
from stabledreamer.cli.terminal_picture import draw
from stabledreamer_core.priors import hub as hub_module
from stabledreamer_core.priors.catalogue import KNOWN
from stabledreamer_core.priors.families import FAMILIES
from stabledreamer_core.priors.hub import COMMIT, HUB_ID
from tests.priors import stand_in_hub as stand_in

ID = "someone/IF-of-mine"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch, tiny_if: Path):
    """A hub with one model, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    with stand_in.stand_in_hub() as served:
        stand_in.point_at(monkeypatch, served.endpoint)
        served.models[ID] = tiny_if
        yield served


def run(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of `stabledreamer priors ...`."""
    code = main(["priors", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_catalogue_is_well_formed() -> None:
    assert len({known.name for known in KNOWN}) == len(KNOWN)
    for known in KNOWN:
        assert HUB_ID.fullmatch(known.source) and known.kind in FAMILIES
        assert known.revision is None or COMMIT.fullmatch(known.revision)
        assert known.gpu_gb > known.denoiser_gb > 0 and known.disk_gb > known.denoiser_gb
        assert known.dtype == "auto" or known.variant is None, "fp16 files run in float16"


def test_list_fits_80_columns_and_names_every_model(capsys) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    for known in KNOWN:
        assert known.source in out and known.licence in out
    gated = next(line for line in lines if line.startswith("if-xl"))
    assert "gated" in gated and "20 GB" in gated


def test_list_for_programs(capsys) -> None:
    _, out, _ = run(capsys, "list", "--json")
    assert {entry["name"] for entry in json.loads(out)} == {known.name for known in KNOWN}


def test_what_is_not_pinned_says_so(capsys) -> None:
    loose = next(known for known in KNOWN if known.revision is None)
    _, out, _ = run(capsys, "list", loose.name)
    assert "not pinned: the newest is taken" in out


def test_fetch_downloads_then_verifies_then_repairs(hub, capsys, tmp_path: Path) -> None:
    code, out, _ = run(capsys, "fetch", ID)
    assert code == 0 and "GB to download" in out and "whole and verified" in out
    assert f"revision: {stand_in.COMMIT}" in out, "an unpinned model's commit is told"
    before = len(hub.sent(".safetensors"))
    _, out, _ = run(capsys, "fetch", ID)
    assert "reading it again" in out and "damaged" not in out
    assert len(hub.sent(".safetensors")) == before
    blob = max((tmp_path / "hub").rglob("blobs/*"), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"?" + blob.read_bytes()[1:])
    code, out, _ = run(capsys, "fetch", ID)
    assert code == 0 and "damaged, and removed" in out
    assert len(hub.sent(".safetensors")) == before + 1
    assert hub_module.snapshot_of(blob.parents[1] / "snapshots" / stand_in.COMMIT) == (
        ID,
        stand_in.COMMIT,
    )


def test_fetch_without_the_text_encoder(hub, capsys, tmp_path: Path) -> None:
    code, _, _ = run(capsys, "fetch", ID, "--no-text")
    assert code == 0
    assert not any((tmp_path / "hub").rglob("text_encoder/*.safetensors"))


@pytest.mark.parametrize("name", ["tiny_if", "tiny_sd"])
def test_check_writes_pictures(name: str, request, capsys, tmp_path: Path) -> None:
    out = tmp_path / "look.png"
    folder = request.getfixturevalue(name)
    words = ("check", str(folder), "a red bear", "--count", "2", "--steps", "3", "--out", str(out))
    code, text, _ = run(capsys, *words)
    assert code == 0 and str(out) in text and "GB of memory" in text
    pixels = np.asarray(Image.open(out))
    assert pixels.shape == (256, 512, 3) and pixels.std() > 1
    left, right = pixels[:, :256], pixels[:, 256:]
    assert (left != right).any(), "two noises give two pictures"


def test_check_is_the_same_for_a_seed(tiny_if: Path, capsys, tmp_path: Path) -> None:
    pictures = []
    for seed in ("0", "0", "1"):
        out = tmp_path / f"{len(pictures)}.png"
        options = ("--count", "1", "--steps", "2", "--seed", seed, "--out", str(out))
        run(capsys, "check", str(tiny_if), "a bear", *options)
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_weights_that_overflow_are_told(tiny_sd: Path, capsys, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_sd, tmp_path / "hot")
    path = folder / "vae/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["post_quant_conv.weight"] += float("inf")
    save_file(tensors, path, {"format": "pt"})
    code, _, err = run(capsys, "check", str(folder), "a bear", "--count", "1", "--steps", "1")
    assert code == 2 and "--dtype bfloat16" in err and err.count("\n") == 1


def test_embed_writes_a_file_that_dream_takes(tiny_if: Path, capsys, tmp_path: Path) -> None:
    from stabledreamer_core.priors.embedding_file import read_embeddings

    prompts, out = tmp_path / "some.yaml", tmp_path / "some.safetensors"
    prompts.write_text("[a blue  car, a red bear]")
    words = ("embed", str(tiny_if), "a red bear", "--prompts", str(prompts), "--out", str(out))
    code, text, _ = run(capsys, *words)
    assert code == 0 and "2 prompts with four view words" in text
    assert f"stage1.embeddings={out}" in text
    found = read_embeddings(out, tiny_if)
    assert set(found) == {
        "",
        *("a red bear", "a blue car"),
        *(
            f"{prompt}, {view} view"
            for prompt in ("a red bear", "a blue car")
            for view in ("front", "side", "back", "overhead")
        ),
    }
    code, _, err = run(capsys, "check", str(tiny_if), "a green cat", "--embeddings", str(out))
    assert code == 2 and "lack 'a green cat'" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["embed", "priors/toybox-if"], "nothing to embed"),
        (["fetch"], "name a prior"),
        (["fetch", "--preset", "smal"], "did you mean small"),
        (["list", "klien"], "did you mean klein"),
        (["fetch", "sdxll"], "did you mean sdxl"),
        (["check", "nowhere/at/all"], "no prior"),
        (["fetch", "priors/toybox-if"], "nothing to download"),
        (["check", "priors/toybox-if", "a bear", "--count", "0"], "at least 1"),
        (["check", "priors/toybox-judge", "a bear"], "model_index.json"),
        (["check", "priors/toybox-if", "a bear", "--device", "tpu"], "--device"),
        (["check", "priors/toybox-if", "a bear", "--dtype", "int4"], "--dtype"),
    ],
)
def test_mistakes_are_one_line(words: list[str], says: str, capsys) -> None:
    code, _, err = run(capsys, *words)
    assert code == 2 and says in err and err.count("\n") == 1


def test_a_checkpoint_file_is_no_folder(capsys, tmp_path: Path) -> None:
    file = tmp_path / "sd_xl_base_1.0.safetensors"
    file.write_bytes(b"x")
    code, _, err = run(capsys, "check", str(file), "a bear")
    assert code == 2 and "from_single_file" in err


def test_a_picture_in_the_terminal(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "flag.png")
    lines = list(draw(tmp_path / "flag.png", 4))
    assert lines[0].count("38;2;255;0;0;48;2;255;0;0") == 4
    assert lines[1].count("38;2;0;0;0;48;2;0;0;0") == 4
    assert sys.stdout is not None and len(lines) == 2
