"""Embeddings as a file: the encoder's own, for its own prior, and in place of the encoder."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stabledreamer_core.errors import UserError
from stabledreamer_core.priors import identity, load_prior, text
from stabledreamer_core.priors.embedding_file import read_embeddings, write_embeddings
from stabledreamer_core.priors.identity import text_hash

PROMPTS = ["a red bear", ""]


@pytest.fixture
def file(tiny_if: Path, tmp_path: Path) -> Path:
    """The embeddings of PROMPTS by the tiny IF."""
    prior, path = load_prior(str(tiny_if)), tmp_path / "embeddings.safetensors"
    write_embeddings(path, tiny_if, dict(zip(PROMPTS, prior.embed(PROMPTS), strict=True)))
    return path


def without_encoder(folder: Path, to: Path) -> Path:
    copy = shutil.copytree(folder, to)
    for weights in copy.glob("text_encoder/*.safetensors"):
        weights.unlink()
    return copy


def in_cache(folder: Path, root: Path, commit: str = "c" * 40) -> Path:
    """`folder` as a snapshot in the hub's cache: large files are links to blobs."""
    snapshot = root / "models--some--model" / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    blobs = root / "models--some--model" / "blobs"
    blobs.mkdir()
    for path in snapshot.rglob("*.safetensors"):
        blob = blobs / identity.sha256_of(path)
        path.rename(blob)
        path.symlink_to(blob)
    return snapshot


def test_a_file_stands_in_for_the_encoder(file: Path, tiny_if: Path, monkeypatch) -> None:
    truth = load_prior(str(tiny_if)).embed(PROMPTS)
    monkeypatch.setattr(text, "_text_pipeline", None)  # loading it would fail
    assert torch.equal(load_prior(str(tiny_if), embeddings=file).embed(PROMPTS), truth)


def test_a_prompt_that_is_not_in_it_is_told(file: Path, tiny_if: Path) -> None:
    with pytest.raises(UserError, match="lack 'a blue car'") as caught:
        load_prior(str(tiny_if), embeddings=file).embed(["a red bear", "a blue car"])
    assert str(file) in str(caught.value) and "priors embed" in str(caught.value)


def test_those_of_another_prior_are_refused(file: Path, tiny_sd: Path) -> None:
    with pytest.raises(UserError, match="were made by tiny-if and the prior is"):
        load_prior(str(tiny_sd), embeddings=file)


def test_other_files_and_none_are_told(tiny_if: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(UserError, match="no file of embeddings"):
        read_embeddings(other, tiny_if)
    with pytest.raises(UserError, match="no file of embeddings"):
        read_embeddings(tmp_path / "gone", tiny_if)
    other.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="damaged"):
        read_embeddings(other, tiny_if)


def test_from_a_machine_with_the_hubs_cache_to_one_without_the_encoder(
    tiny_if: Path, tmp_path: Path
) -> None:
    here = in_cache(tiny_if, tmp_path / "here")
    prior, path = load_prior(str(here)), tmp_path / "carried.safetensors"
    write_embeddings(path, here, {"a bear": prior.embed(["a bear"])[0]})
    bare = without_encoder(tiny_if, tmp_path / "bare")
    there = in_cache(bare, tmp_path / "there")
    carried = load_prior(str(there), embeddings=path).embed(["a bear"])
    assert torch.equal(carried, prior.embed(["a bear"]))
    # The same weights in an ordinary folder are the same by content.
    assert load_prior(str(tiny_if), embeddings=path).embed(["a bear"]).shape == carried.shape
    # Of another commit nothing is known without its text encoder.
    other = in_cache(bare, tmp_path / "other", commit="d" * 40)
    with pytest.raises(UserError, match="some/model@ccc"):
        load_prior(str(other), embeddings=path)


def test_without_either_it_is_incomplete(tiny_if: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="incomplete"):
        load_prior(str(without_encoder(tiny_if, tmp_path / "bare")))


def test_naming_an_embedding_reads_no_unet(tiny_sd: Path, tmp_path: Path, monkeypatch) -> None:
    folder = shutil.copytree(tiny_sd, tmp_path / "mine")
    read: list[str] = []
    original = identity.sha256_of
    monkeypatch.setattr(
        identity, "sha256_of", lambda path: (read.append(Path(path).parent.name), original(path))[1]
    )
    before = text_hash(folder)
    assert "text_encoder" in read and not {"unet", "vae"} & set(read)
    (folder / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"another")
    assert text_hash(folder) == before
    path = folder / "text_encoder/model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert text_hash(folder) != before


def test_in_the_hubs_cache_no_weights_are_read_for_a_hash(
    tiny_sd: Path, tmp_path: Path, monkeypatch
) -> None:
    truth = identity.folder_hash(tiny_sd)
    snapshot = in_cache(tiny_sd, tmp_path / "cache")
    original = identity.sha256_of

    def small(path: Path) -> str:
        assert Path(path).suffix != ".safetensors" and Path(path).parent.name != "blobs"
        return original(path)

    monkeypatch.setattr(identity, "sha256_of", small)
    assert identity.folder_hash(snapshot) == truth, "as of any folder with these files"
