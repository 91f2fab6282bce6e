"""Hub models: cached ones without a network, absent ones refused at once and usefully.

The hub is played by a server on loopback that speaks its protocol's error headers.
"""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from stabledreamer_core.errors import UserError
from stabledreamer_core.priors import load_prior, prior_hash, source

COMMIT = "c0ffee0000000000000000000000000000000000"
ID = "someone/IF-of-mine"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch) -> Path:
    """A hub cache of the test's own, and no way to the real hub."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    point_at(monkeypatch, "http://127.0.0.1:9")  # nothing listens there
    return cache


def point_at(monkeypatch, endpoint: str) -> None:
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def put_in_cache(cache: Path, folder: Path) -> Path:
    """Store `folder` as the hub's client stores commit COMMIT, branch main."""
    repository = cache / f"models--{ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    return shutil.copytree(folder, repository / "snapshots" / COMMIT)


@pytest.fixture
def hub(monkeypatch) -> Iterator[dict[str, str]]:
    """A loopback hub; its answers' status and headers are what the test puts in the dict."""
    answer: dict[str, str] = {"status": "200"}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(int(answer["status"]))
            for name, value in answer.items():
                if name != "status":
                    self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield answer
    server.shutdown()
    server.server_close()
    thread.join()


def refusal(**options) -> str:
    with pytest.raises(UserError) as caught:
        load_prior(ID, **options)
    line = str(caught.value)
    assert "\n" not in line
    for help_ in (ID, f"https://huggingface.co/{ID}", "hf auth login", "hf download", "folder"):
        assert help_ in line
    return line


def test_unreachable_is_told_at_once() -> None:
    began = time.monotonic()
    assert "cannot be reached" in refusal(revision=COMMIT)
    assert time.monotonic() - began < 5


def test_a_silent_hub_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(source, "REQUEST_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert "cannot be reached" in refusal()
        assert time.monotonic() - began < 5


def test_a_name_lookup_that_hangs_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(source, "DEADLINE_S", 0.3)
    over = threading.Event()
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: over.wait(60))
    began = time.monotonic()
    assert "no answer in time" in refusal()
    assert time.monotonic() - began < 5
    over.set()


def test_the_defaults_give_up_within_ten_seconds() -> None:
    assert source.REQUEST_TIMEOUT_S < source.DEADLINE_S < 10


def test_gated_unknown_and_other_models_are_told_apart(hub: dict[str, str]) -> None:
    hub |= {"status": "403", "X-Error-Code": "GatedRepo"}
    assert "accept its licence" in refusal().split(":")[0]
    hub |= {"status": "404", "X-Error-Code": "RepoNotFound"}
    assert "no such model" in refusal()
    hub |= {"X-Error-Code": "RevisionNotFound"}
    assert "no revision 'v9'" in refusal(revision="v9")
    hub |= {"X-Error-Code": "EntryNotFound"}
    assert "no diffusers pipeline" in refusal()


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


def test_the_hash_of_an_unpinned_absent_model_cannot_be_known() -> None:
    with pytest.raises(UserError, match="cannot be reached"):
        prior_hash(ID, revision="main")


def test_a_download_fetches_what_loading_needs_and_no_more(
    hub: dict[str, str], empty_cache: Path, tiny_if_half: Path, tmp_path: Path, monkeypatch
) -> None:
    hub |= {"X-Repo-Commit": COMMIT, "ETag": '"0"', "Content-Length": "10"}
    there = shutil.copytree(tiny_if_half, tmp_path / "there")
    extra = ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"]
    extra += ["text_encoder/pytorch_model.bin", "safety_checker/model.safetensors"]
    for name in extra:
        (there / name).parent.mkdir(exist_ok=True)
        (there / name).write_bytes(b"not to be fetched")
    snapshot = empty_cache / "snapshot"

    def download(repository: str, revision: str, allow_patterns: list[str]) -> str:
        assert (repository, revision) == (ID, COMMIT)
        for path in there.rglob("*"):
            name = path.relative_to(there).as_posix()
            if path.is_file() and any(fnmatch(name, pattern) for pattern in allow_patterns):
                (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, snapshot / name)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    prior = load_prior(ID, variant="fp16")
    assert prior.embed(["a bear"]).shape == (1, 77, 16)
    fetched = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*")}
    assert not fetched & set(extra)


def test_a_download_that_breaks_off_is_told(hub: dict[str, str], monkeypatch) -> None:
    hub |= {"X-Repo-Commit": COMMIT, "ETag": '"0"', "Content-Length": "10"}

    def download(*_: object, **__: object) -> str:
        raise ConnectionError("peer went away\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    line = refusal()
    assert "the download failed (peer went away)" in line
