"""The report: one file that needs nothing else, escaped, small, and true to run.json."""

import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from stabledreamer_core.assets.mesh.read import read_glb
from stabledreamer_core.assets.splats.ply import save_ply
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import save_checkpoint
from stabledreamer_core.scene.gaussians import init_ball
from stabledreamer_core.settings.config import Config
from tasks.keys import STAGE1, STAGE2
from tasks.report.page import write_report
from tasks.report.room import MAX_BYTES, size

TRIANGLE = Surface(
    vertices=np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    normals=np.full((3, 3), 3**-0.5),
    faces=np.array([[0, 1, 2]]),
    colors=np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.1, 0.2, 0.9]]),
)
EVIL = "</title></script><script>alert('x')</script> $seed {{ 7 * 7 }} \"><img src=x onerror=a()>"


def asset(folder: Path, prompt: str = "a red bear") -> Path:
    """A whole one, but tiny."""
    write_glb(folder / "mesh.glb", TRIANGLE)
    splats = init_ball(300, 0.5, 0.1, 0.8, torch.Generator().manual_seed(0))
    save_ply(splats, folder / "gaussians.ply")
    for path in (STAGE1, STAGE2):
        save_checkpoint(folder / path, splats, {})
    Image.new("RGB", (192, 64), "red").save(folder / "preview.png")
    (folder / "turntable.mp4").write_bytes(b"a video")
    stage = {"iterations": 3, "seconds": 60.0, "iterations_per_second": 0.05, "gaussians": 7}
    stage |= {"losses": [0.5, 0.1, 0.05], "peak_memory_bytes": 3 * 2**29}
    record = {
        "prompt": prompt,
        "seed": 3,
        "device": "cpu",
        "metrics": {"category": 0.875, "view": None, "chamfer": 0.0123456, "new_one": 2.0},
        "stages": {"stage1": stage, "stage2": stage | {"seconds": 65.4}},
        "config": Config().model_dump(mode="json"),
        "packages": {"torch": "2.13.0"},
        "code": {"version": "0.1.0", "commit": "abc"},
        "mesh": {"vertices": 3, "faces": 1},
        "files": {"report.html": "f00d", "gaussians.spz": "beef"},
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


class Elements(HTMLParser):
    """All start tags with their attributes, and the text within the first of each tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self.found[-1][0] if self.found else "", data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def elements(folder: Path) -> Elements:
    return Elements(write_report(folder).read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = asset(tmp_path_factory.mktemp("asset"))
    write_report(folder)
    return folder


def test_the_page_needs_nothing_else(made: Path) -> None:
    text = (made / "report.html").read_text()
    page = Elements(text)
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import|\bimport\b|fetch\(|XMLHttp|Worker\(", text)
    for _, attributes in page.found:
        for name in ("src", "href", "poster"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not {"link", "iframe", "object", "base", "form"} & {t for t, _ in page.found} - {"link"}
    assert [link["href"] for link in page.all("link")] == ["data:,"]


def test_its_policy_lets_its_own_script_and_styles_run_and_nothing_in(made: Path) -> None:
    text = (made / "report.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    policy = unescape(policy)
    assert "default-src 'none'" in policy and "unsafe" not in policy and "connect" not in policy
    for tag in ("script", "style"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert " style=" not in text and not re.search(r"<[^>]* on[a-z]+=", text)


def test_a_hostile_prompt_is_text(tmp_path: Path) -> None:
    page = elements(asset(tmp_path, EVIL))
    plain = elements(asset(tmp_path))
    assert page.text["h1"] == page.text["title"] == EVIL
    assert [tag for tag, _ in page.found if tag != "span"] == [
        tag for tag, _ in plain.found if tag != "span"  # one a word of the command
    ]
    names = {link["download"] for link in page.all("a")}
    assert all(re.fullmatch(r"[a-z0-9.-]+", name) for name in names)


def test_the_downloads_are_the_files_and_say_their_size(made: Path) -> None:
    text = (made / "report.html").read_text()
    links = {link["download"]: link.get("href", "") for link in Elements(text).all("a")}
    for file in ("mesh.glb", "gaussians.ply", "preview.png"):
        name = f"a-red-bear.{file.partition('.')[2]}"
        assert base64.b64decode(links[name].partition(",")[2]) == (made / file).read_bytes()
        assert size((made / file).stat().st_size) in text
    record = json.loads(base64.b64decode(links["a-red-bear.json"].partition(",")[2]))
    assert record["files"] == {"gaussians.spz": "beef"}  # a page cannot name its own hash
    assert "0.0 MB" not in text


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "1 byte"), (999, "999 bytes"), (1000, "1.00 KB"), (12345, "12.3 KB"), (999_700, "1.00 MB"),
     (680_415, "680 KB"), (1_121_256, "1.12 MB"), (123_456_789, "123 MB")],
)  # fmt: skip
def test_sizes_have_units(count: int, said: str) -> None:
    assert size(count) == said


def test_its_figures_are_those_of_the_record(made: Path) -> None:
    text = (made / "report.html").read_text()
    metrics = json.loads((made / "run.json").read_text())["metrics"]
    shown = [float(value["value"]) for value in Elements(text).all("data")]
    assert sorted(shown) == sorted(value for value in metrics.values() if value is not None)
    assert ">0.875<" in text and ">0.0123<" in text and "<dt>new one</dt>" in text
    assert "1\u00a0min 0\u00a0s" in text and "2\u00a0min 5\u00a0s" in text and "1.50 GiB" in text
    assert "300 Gaussians" in text and "1 triangle, 3 vertices" in text
    assert "stabledreamer dream 'a red bear' --seed 3" in re.sub("</?span>", "", unescape(text))


def test_the_pictures_stay_without_javascript(made: Path) -> None:
    page = elements(made)
    pictures = page.all("img")
    assert len(pictures) == 5  # splats, mesh, eight views, two stages
    assert all(picture["src"].startswith("data:image/webp") for picture in pictures)
    assert all(picture["alt"] for picture in pictures)
    assert len(page.all("video")) == 1
    assert len([svg for svg in page.all("svg") if svg.get("role") == "img"]) == 4
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert len(page.all("main")) == 1


def test_what_does_not_fit_is_named_instead(tmp_path: Path) -> None:
    folder = asset(tmp_path)
    (folder / "turntable.mp4").write_bytes(bytes(2_500_000))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)).save(
        folder / "preview.png"
    )
    text = write_report(folder).read_text()
    assert len(text.encode()) <= MAX_BYTES
    assert "a-red-bear.mp4" in text and "a-red-bear.png" not in text
    assert "In the asset's folder: preview.png (1.08 MB)." in text


def test_a_folder_with_little_in_it_still_has_a_page(tmp_path: Path) -> None:
    record = json.loads((asset(tmp_path) / "run.json").read_text())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()
    bare: dict[str, Any] = record | {"metrics": {}, "config": {"a": 1}, "packages": {}}
    (tmp_path / "run.json").write_text(json.dumps(bare))
    text = write_report(tmp_path).read_text()
    assert "no truth to measure" in text and "another version's" in unescape(text) and "<img" not in text


def test_reading_a_mesh_gives_what_was_written(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", TRIANGLE)
    back = read_glb(tmp_path / "a.glb")
    assert back is not None
    for name in ("vertices", "normals", "faces", "colors"):
        np.testing.assert_allclose(getattr(back, name), getattr(TRIANGLE, name), atol=1e-4)


def test_reading_a_textured_mesh_samples_the_texture(tmp_path: Path) -> None:
    texture = np.zeros((4, 4, 3), np.uint8)
    texture[0, 3] = (255, 128, 0)
    uvs = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    plain = {k: getattr(TRIANGLE, k) for k in ("vertices", "normals", "faces")}
    write_glb(tmp_path / "a.glb", Surface(**plain, uvs=uvs, texture=texture))
    back = read_glb(tmp_path / "a.glb")
    assert back is not None and back.colors is not None
    np.testing.assert_allclose(back.colors, [[1.0, 128 / 255, 0.0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("damage", [b"", b"glTF", b"x" * 400])
def test_damage_is_a_users_error(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.glb").write_bytes(damage)
    with pytest.raises(UserError, match=r"a\.glb"):
        read_glb(tmp_path / "a.glb")
    with pytest.raises(UserError, match=r"run\.json"):
        write_report(tmp_path)
