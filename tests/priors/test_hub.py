"""Hub models: cached ones without a network, absent ones refused at once and usefully.

The hub is played by a server on loopback (stand_in_hub.py).
"""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.errors import UserError
from stabledreamer_core.priors import download, load_prior, prior_hash, source
from stabledreamer_core.priors import hub as hub_module
from stabledreamer_core.priors.layout import needed_files
from tasks.run_record import prior_commits
from tests.priors.stand_in_hub import COMMIT, Hub, digest, point_at, stand_in_hub

ID = "someone/IF-of-mine"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch) -> Path:
    """A hub cache of the test's own, and no way to the real hub."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    point_at(monkeypatch, "http://127.0.0.1:9")  # nothing listens there
    return cache


def put_in_cache(cache: Path, folder: Path) -> Path:
    """Store `folder` as the hub's client stores commit COMMIT, branch main."""
    repository = cache / f"models--{ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    return shutil.copytree(folder, repository / "snapshots" / COMMIT)


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    """A hub that serves nothing yet."""
    with stand_in_hub() as served:
        point_at(monkeypatch, served.endpoint)
        yield served


def refusal(**options) -> str:
    with pytest.raises(UserError) as caught:
        load_prior(ID, **options)
    line = str(caught.value)
    assert "\n" not in line and ID in line
    return line


def test_unreachable_is_told_at_once() -> None:
    began = time.monotonic()
    assert "cannot be reached" in refusal(revision=COMMIT)
    assert time.monotonic() - began < 5


def test_a_silent_hub_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(hub_module, "REQUEST_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert "cannot be reached" in refusal()
        assert time.monotonic() - began < 5


def test_a_name_lookup_that_hangs_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(hub_module, "DEADLINE_S", 0.3)
    over = threading.Event()
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: over.wait(60))
    began = time.monotonic()
    assert "no answer in time" in refusal()
    assert time.monotonic() - began < 5
    over.set()


def test_the_defaults_give_up_within_ten_seconds() -> None:
    assert hub_module.REQUEST_TIMEOUT_S < hub_module.DEADLINE_S < 10


@pytest.mark.parametrize(
    ("status", "code", "why", "remedy"),
    [
        (403, "GatedRepo", "accept its licence", f"huggingface.co/{ID}, run `hf auth login`"),
        (401, "GatedRepo", "accept its licence", "hf auth login"),
        (401, "RepoNotFound", "no such model, or it is private", "priors list"),
        (404, "RepoNotFound", "no such model", "check the spelling"),
        (404, "RevisionNotFound", "no revision 'v9'", f"huggingface.co/{ID}/commits/main"),
        (404, "EntryNotFound", "no diffusers pipeline", "diffusers' format"),
    ],
)
def test_a_refusal_has_its_reason_and_remedy(
    hub: Hub, status: int, code: str, why: str, remedy: str
) -> None:
    hub.refusal = (status, code)
    line = refusal(revision="v9")
    assert why in line and remedy in line


def test_a_cached_model_needs_no_network(empty_cache: Path, tiny_if: Path) -> None:
    snapshot = put_in_cache(empty_cache, tiny_if)
    for revision in (None, "main", COMMIT):
        prior = load_prior(ID, revision=revision)
        assert prior.folder == snapshot and prior.space == "pixel"
    assert prior_hash(ID) == prior_hash(ID, revision="main") == prior_hash(ID, revision=COMMIT)
    assert prior_hash(ID, revision="1" * 40) != prior_hash(ID)


def test_an_incompletely_cached_model_is_refused_offline(empty_cache: Path, tiny_if: Path) -> None:
    snapshot = put_in_cache(empty_cache, tiny_if)
    (snapshot / "unet/diffusion_pytorch_model.safetensors").unlink()
    assert "cannot be reached" in refusal()


def test_half_a_download_says_so_offline(hub: Hub, tiny_if: Path, monkeypatch) -> None:
    hub.models[ID] = tiny_if
    folder = load_prior(ID).folder
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    point_at(monkeypatch, "http://127.0.0.1:9")
    line = refusal(revision=COMMIT)
    assert "downloaded only in part" in line and "run the same again" in line


def test_the_hash_of_an_unpinned_absent_model_cannot_be_known() -> None:
    with pytest.raises(UserError, match="cannot be reached"):
        prior_hash(ID, revision="main")


def test_a_download_fetches_what_loading_needs_and_no_more(
    hub: Hub, empty_cache: Path, tiny_if_half: Path, tmp_path: Path
) -> None:
    there = shutil.copytree(tiny_if_half, tmp_path / "there")
    extra = ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"]
    extra += ["text_encoder/pytorch_model.bin", "safety_checker/model.safetensors"]
    for name in extra:
        (there / name).parent.mkdir(exist_ok=True)
        (there / name).write_bytes(b"not to be fetched")
    hub.models[ID] = there
    prior = load_prior(ID, variant="fp16")
    assert prior.embed(["a bear"]).shape == (1, 77, 16)
    snapshot = empty_cache / f"models--{ID.replace('/', '--')}" / "snapshots" / COMMIT
    assert prior.folder.samefile(snapshot)
    fetched = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*")}
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in fetched
    assert not fetched & set(extra)


def test_without_its_text_encoder(hub: Hub, empty_cache: Path, tiny_if: Path) -> None:
    hub.models[ID] = tiny_if
    folder = source.find_folder(ID, None, None, text=False)
    assert (folder / "unet/diffusion_pytorch_model.safetensors").exists()
    assert not (folder / "text_encoder/model.safetensors").exists()
    assert source.find_folder(ID, COMMIT, None, text=False) == folder
    assert source.complete_folder(ID, COMMIT, None) is None


def test_a_download_goes_on_within_a_file(hub: Hub, tiny_if: Path, monkeypatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    monkeypatch.setattr(download, "TRIES", 1)
    name = "unet/diffusion_pytorch_model.safetensors"
    size = (tiny_if / name).stat().st_size
    hub.models[ID] = tiny_if
    hub.break_after[name] = [size // 2, 0]
    line = refusal()
    assert "broke off" in line and "run the same again" in line
    assert load_prior(ID).folder.name == COMMIT
    ranges = [int(at.removeprefix("bytes=").rstrip("-")) for at in hub.sent(name)]
    assert ranges[0] == 0 and ranges[-1] == size // 2, "the second run starts where the first ended"


def test_a_lost_connection_is_taken_up_again_at_once(hub: Hub, tiny_if: Path, monkeypatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    name = "text_encoder/model.safetensors"
    hub.models[ID] = tiny_if
    hub.break_after[name] = [1000, 500]
    load_prior(ID)
    assert hub.sent(name) == ["bytes=0-", "bytes=1000-", "bytes=1500-"]


def test_what_arrives_damaged_is_refused_and_fetched_anew(hub: Hub, tiny_if: Path) -> None:
    name = "unet/diffusion_pytorch_model.safetensors"
    hub.models[ID] = tiny_if
    hub.spoil.add(name)
    assert "arrived damaged" in refusal()
    hub.spoil.clear()
    folder = load_prior(ID).folder
    assert digest(folder / name) == digest(tiny_if / name)


def test_a_variant_that_the_model_lacks_is_told_before_the_weights(hub: Hub, tiny_if: Path) -> None:
    hub.models[ID] = tiny_if
    line = refusal(variant="fp16")
    assert "set `variant` to match" in line and "model.safetensors" in line
    assert not any(hub.sent(".safetensors"))


def test_a_small_disk_is_told_before_the_weights(hub: Hub, tiny_if: Path, monkeypatch) -> None:
    hub.models[ID] = tiny_if
    monkeypatch.setattr(download, "SPARE_BYTES", 2**60)
    assert "HF_HOME" in refusal()
    assert not any(hub.sent(".safetensors"))


def test_verification_finds_a_flipped_bit(hub: Hub, tiny_if: Path) -> None:
    hub.models[ID] = tiny_if
    folder = load_prior(ID).folder
    name = "unet/diffusion_pytorch_model.safetensors"
    blob = (folder / name).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    assert download.verify(folder, needed_files(folder, None)) == [name]
    assert source.complete_folder(ID, None, None) is None
    assert digest(load_prior(ID).folder / name) == digest(tiny_if / name)


def test_the_commit_that_was_taken_is_recorded(hub: Hub, tiny_if: Path, monkeypatch) -> None:
    hub.models[ID] = tiny_if
    load_prior(ID)
    point_at(monkeypatch, "http://127.0.0.1:9")
    config = load_config(overrides=[f"stage1.prior={ID}"])
    assert prior_commits(config) == {"stage1": COMMIT, "stage2": None}
