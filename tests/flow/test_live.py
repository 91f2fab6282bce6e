"""The page of a run that goes on: what it shows, whom it answers, what it costs, how it ends."""

import hashlib
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.request import urlopen

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from stabledreamer.cli.main import main
from stabledreamer.runtime import live
from stabledreamer.runtime.pages import listen
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.debugger import live as pictures
from stabledreamer_core.errors import UserError

COMMAND = Path(sys.executable).with_name("stabledreamer")
EVIL = "<script>alert(1)</script>{{ 7 * 7 }}"


def hashes(folder: Path, *names: str) -> list[str]:
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]


def test_a_watched_run_has_the_same_bits_and_shows_every_stage(make, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "SHARE", 1e9)
    monkeypatch.setattr(pictures, "SOONEST_S", 0.0)
    heard, whole = [], live._show

    def show(page, frame, out):
        whole(page, frame, out)
        heard.append((page.state["words"], frame.step))
        with Image.open(out / "preview.png") as preview:
            assert preview.size == (512, 256)
        for name, picture in page.pictures.items():
            assert picture[:3] == b"\xff\xd8\xff", name  # JPEG

    monkeypatch.setattr(live, "_show", show)
    make(tmp_path / "alone")
    assert heard == []
    with live.live_page("a red bear", 0, tmp_path / "watched", None):
        make(tmp_path / "watched")
        page = live._live
        assert page.state["words"] == "evaluate: how well it fits the prompt"
    files = ("stage1/gaussians.safetensors", "stage2/gaussians.safetensors", "preview.png")
    assert hashes(tmp_path / "watched", *files) == hashes(tmp_path / "alone", *files)
    # Of stage 1's six steps every third asks the prior, and of stage 2's four.
    assert [(words.split(":")[0], step) for words, step in heard] == [
        *(("stage 1", step) for step in (1, 4)),
        *(("stage 2", step) for step in (1, 4)),
    ]
    assert [len(page.state["losses"]), page.state["over"]] == [2, True]
    assert live._live is None


def test_its_pictures_are_the_steps_own(make, tmp_path, monkeypatch):
    """The last frame's object is the stage's result, rendered; x0_hat is what the loss was of."""
    frames, seen, real = [], [], pictures.frame_of

    def frame_of(now, stage, turntable):
        seen.append((now.render.clone(), now.target.x0_hat.clone(), now.prior.space))
        frames.append(real(now, stage, turntable))
        return frames[-1]

    monkeypatch.setattr(pictures, "frame_of", frame_of)
    monkeypatch.setattr(pictures, "SHARE", 1e9)
    monkeypatch.setattr(pictures, "SOONEST_S", 0.0)
    out = tmp_path / "asset"
    with live.live_page("a red bear", 0, out, None):
        make(out)
    for frame, (render, x0_hat, space) in zip(frames, seen, strict=True):
        assert torch.equal(frame.renders, render)
        if space == "pixel":
            shown = ((x0_hat + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)
            assert torch.allclose(frame.x0_hats, shown, atol=1e-6)

    from stabledreamer_core.assets.turntable import write_preview
    from stabledreamer_core.optimization.checkpoint import load_checkpoint
    from stabledreamer_core.scene.rendering import to_bytes

    splats, _ = load_checkpoint(out / "stage2" / "gaussians.safetensors")
    settings = load_config().turntable.model_copy(update={"preview_resolution": 128})
    write_preview(splats, settings, tmp_path / "large.png", torch.device("cpu"))
    large = Image.open(tmp_path / "large.png").crop((0, 0, 256, 256))  # its three-quarter view
    own = Image.fromarray(to_bytes(frames[-1].object[:, :256]).numpy())
    assert own.tobytes() == large.tobytes()


@pytest.mark.parametrize("ours", [1.0, 0.3])
def test_what_it_takes_of_the_time_is_bounded(monkeypatch, ours):
    """With clocks of our own: pictures of 2 s beside steps of .1 s.

    Of the steps' time the processor is ours for a share alone, as on a busy machine.
    """
    clock = {"wall": 100.0, "processor": 50.0}
    monkeypatch.setattr(pictures.time, "monotonic", lambda: clock["wall"])
    monkeypatch.setattr(pictures, "CLOCKS", [lambda: clock["wall"], lambda: clock["processor"]])
    monkeypatch.setattr(pictures, "frame_of", lambda *_: None)
    shown = []

    def take(seconds, share):
        clock["wall"] += seconds
        clock["processor"] += seconds * share

    def show(frame):
        take(2.0, 1.0)
        shown.append(frame)

    observe = pictures.watcher(load_config().stage1, load_config().turntable, show)
    asked = type("Now", (), {"asked": object()})
    for _ in range(40_000):
        take(0.1, ours)
        observe(asked)
    spent = 2.0 * (len(shown) - 1)
    assert len(shown) > 5
    assert spent <= pictures.SHARE * (clock["wall"] - 100.0)
    assert spent <= pictures.SHARE * (clock["processor"] - 50.0)
    take(1e6, 1.0)
    before = len(shown)
    observe(type("Kept", (), {"asked": None}))
    assert len(shown) == before


def test_a_run_goes_on_without_its_pictures(make, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(live, "_show", fails)
    with live.live_page("a red bear", 0, tmp_path, None):
        with pytest.warns(UserWarning, match="no more live pictures: .*No space left") as told:
            make(tmp_path / "asset")
        assert len([one for one in told if "live pictures" in str(one.message)]) == 2  # a stage
    assert (tmp_path / "asset" / "run.json").is_file()


def test_the_page_says_what_a_user_wrote_and_runs_none_of_it():
    page = live.Live({"prompt": EVIL, "seed": 3, "out": f"outputs/{EVIL}"})
    client = TestClient(live.live_app(page), "http://127.0.0.1")
    answer = client.get("/")
    nonce = answer.headers["content-security-policy"].split("'nonce-")[1].split("'")[0]
    assert answer.text.count("<script") == answer.text.count(f'<script nonce="{nonce}"') == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}" in answer.text
    assert client.get("/").headers["content-security-policy"].split("'nonce-")[1][:20] != nonce[:20]
    assert "it begins" not in answer.text and "data:image/gif" in answer.text
    page.tell(words="mesh: <i>closed</i>", step=7, iterations=9)
    page.pictures = {"object": b"jpeg"}
    told = client.get("/").text  # what one sees without a script
    assert "mesh: &lt;i&gt;closed&lt;/i&gt;" in told and "step 7 of 9" in told
    assert 'src="/object.jpg"' in told and client.get("/object.jpg").content == b"jpeg"
    for path in ("/gone.jpg", "/..%2f..%2fpasswd.jpg", "/object.png", "/state/more", "/%00.jpg"):
        assert client.get(path).status_code == 404, path
    assert client.post("/state").status_code == 405
    for path in ("/", "/state", "/gone.jpg"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert (headers["cache-control"], headers["x-content-type-options"]) == (
            "no-store",
            "nosniff",
        )


def test_it_answers_this_machine_alone_and_a_page_hears_of_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "LAST_WORDS_S", 0.5)
    with live.live_page("a red bear", 0, tmp_path, None) as url:
        assert url.startswith("http://127.0.0.1:")
        assert json.load(urlopen(f"{url}state", timeout=10))["words"].startswith("it begins")
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urlopen(urllib.request.Request(url, headers=headers), timeout=10)
        live.say("mesh: a closed, coloured surface")
        assert json.load(urlopen(f"{url}state", timeout=10))["words"].startswith("mesh")
        page, began = live._live, time.monotonic()
    assert page.state["over"] and 0.5 <= time.monotonic() - began < 1.5
    began = time.monotonic()
    with live.live_page("a red bear", 0, tmp_path, None):
        pass  # nobody looks, so nobody is waited for
    assert time.monotonic() - began < 1.0


def test_a_port_that_cannot_be_had_is_one_line(tmp_path, capsys):
    out = str(tmp_path / "asset")
    with listen(0) as taken:
        port = str(taken.getsockname()[1])
        for given in (port, "99999", "-1"):
            with pytest.raises(UserError, match=f"port {given}: .*choose another --port"):
                with live.live_page("a red bear", 0, tmp_path, int(given)):
                    pass
    assert main(["dream", "a red bear", "--port", port, "--out", out]) == 2
    assert capsys.readouterr().err == (
        "error: --port says where --live shows the run; give --live too\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_without_a_display_the_way_from_another_machine_is_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert "ssh -L 8123:127.0.0.1:8123 " in live.how_to_reach("http://127.0.0.1:8123/")
    monkeypatch.setenv("DISPLAY", ":0")
    assert live.how_to_reach("http://127.0.0.1:8123/") == "http://127.0.0.1:8123/"


@pytest.mark.slow  # three processes that load torch
def test_ctrl_c_ends_it_and_the_same_command_goes_on(params, tmp_path):
    words = [
        *(COMMAND, "dream", "a red bear", "--params", params, "--live"),
        *("--set", "stage1.iterations=3000", "--out", tmp_path / "asset"),
    ]
    first = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = first.stdout.readline()
    assert line.startswith("watch it: http://127.0.0.1:")
    url, deadline = line.split()[2], time.monotonic() + 60
    while time.monotonic() < deadline:
        if json.load(urlopen(f"{url}state", timeout=10)).get("step", 0) > 40:
            break
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130 and "nothing is lost, go on with: " in said
    assert "Traceback" not in said
    with pytest.raises(urllib.error.URLError):
        urlopen(url, timeout=10)
    again = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert again.stdout.readline().startswith("watch it: ")
    said = ""
    for line in again.stderr:
        said += line
        if "goes on at step" in line:
            break
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert "stage 1 goes on at step " in said
