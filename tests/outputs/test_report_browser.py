"""The report in a browser: opened as a file, alone in a folder, its viewers draw the asset."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from stabledreamer_core.assets.splats.ply import save_ply
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config
from tasks.report.page import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
FLAGS = (
    *("--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--hide-scrollbars", "--window-size=1280,1000", "--virtual-time-budget=6000"),
)
RED, GREEN = (0.9, 0.1, 0.1), (0.1, 0.7, 0.1)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium or Chrome here"),
]


def sphere(count: int) -> np.ndarray:
    """[N, 3] points spread evenly over the unit sphere."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - 5**0.5)
    ring = np.sqrt(1 - z * z)
    return np.column_stack([ring * np.cos(angle), ring * np.sin(angle), z])


def tall_ball(points: np.ndarray) -> np.ndarray:
    """Half as wide as it is high."""
    return 0.9 * points * (0.5, 0.5, 1.0)


def colors(points: np.ndarray) -> np.ndarray:
    """Red above, green below."""
    return np.where(points[:, 2:] > 0, RED, GREEN)


@pytest.fixture
def asset(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    from scipy.spatial import ConvexHull

    points = sphere(3000)
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, i]] for i in range(3))
    inwards = (np.cross(b - a, c - a) * a).sum(1) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    picture = {"colors": colors(points)}
    if request.param == "textured":
        texture = np.zeros((8, 8, 3), np.uint8)
        texture[:4], texture[4:] = [(np.array(color) * 255).round() for color in (RED, GREEN)]
        v = np.where(points[:, 2] > 0, 0.2, 0.8)
        picture = {"uvs": np.column_stack([np.full(len(v), 0.5), v]), "texture": texture}
    write_glb(tmp_path / "mesh.glb", Surface(tall_ball(points), points, faces, **picture))
    ones = torch.ones(len(points))
    splats: Splats = {
        "means": torch.tensor(tall_ball(points), dtype=torch.float32),
        "quats": torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(len(points), 4),
        "scales": torch.full((len(points), 3), -3.5),
        "opacities": 4 * ones,
        "colors": torch.logit(torch.tensor(colors(points), dtype=torch.float32)),
    }
    save_ply(splats, tmp_path / "gaussians.ply")
    record = {
        "prompt": "a ball", "seed": 0, "device": "cpu", "metrics": {}, "stages": {}, "files": {},
        "config": Config().model_dump(mode="json"), "packages": {}, "code": {}, "mesh": {},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(record))
    return tmp_path


@pytest.mark.parametrize("asset", ["vertex colours", "textured"], indirect=True)
def test_moved_alone_both_viewers_show_the_asset_upright(asset: Path) -> None:
    alone = asset / "elsewhere" / "mailed.html"
    alone.parent.mkdir()
    write_report(asset).rename(alone)
    screenshot = asset / "seen.png"
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--screenshot={screenshot}", "--dump-dom", alone.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.count('class="viewer live"') == 2
    seen = np.asarray(Image.open(screenshot).convert("RGB"), int)[200:]  # below the buttons
    red = (seen[..., 0] > 150) & (seen[..., 1] < 80)
    green = (seen[..., 1] > 120) & (seen[..., 0] < 90)
    shapes = []
    for half in (slice(0, 640), slice(640, 1280)):
        above, below = (np.argwhere(mask[:, half]) for mask in (red, green))
        assert min(len(above), len(below)) > 8000
        assert above[:, 0].mean() < below[:, 0].mean() - 50
        extent = np.ptp(np.concatenate([above, below]), axis=0)
        assert extent[0] / extent[1] == pytest.approx(1.95, abs=0.15)
        shapes.append(extent)
    assert shapes[0] == pytest.approx(shapes[1], rel=0.06)  # of one size side by side
