"""What others' programs show of our files: upright, the front to the camera, in our colours.

Each format is opened by three.js, Spark and SuperSplat's viewer in a Chromium without a screen or a
network, and its picture compared with our own render from there. `pytest -m slow tests/viewers`
needs Chromium and npm; the programs' versions are in package.json.
"""

import math
import shutil
import subprocess
from pathlib import Path

import imageio.v3 as imageio
import pytest
import torch
from torch import Tensor

from stabledreamer_core.assets.formats import SPLATS, export
from stabledreamer_core.assets.splats.frames import GLTF, VIEWER, Quat, rotation_matrix
from stabledreamer_core.scene.cameras import orbit
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import render_chunks
from tests.metrics.test_metrics import surface_splats
from tests.viewers import browser
from toybox.captions import parse

pytestmark = pytest.mark.slow
SEEN = Path("outputs/viewers")  # the pictures, to be looked at
AZIMUTH_DEG, ELEVATION_DEG, DISTANCE = 35.0, 20.0, 3.2  # from its left and above: nothing is alike
AS_IT_IS, OVER_X, OVER_Z = (1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, -1.0, 1.0)
# Program: the least likeness to our render in dB, as they filter and sort in ways of their own.
LEAST_DB = {"spark": 34.0, "supersplat": 27.0, "three": 24.0}
# (program, format): our frame that the file is in, and how the program turns such a file.
SHOWN: dict[tuple[str, str], tuple[Quat, tuple[float, float, float]]] = {
    ("spark", "ply"): (VIEWER, OVER_X),
    ("spark", "compressed-ply"): (VIEWER, OVER_X),
    ("spark", "sog"): (VIEWER, OVER_X),
    ("spark", "spz"): (GLTF, AS_IT_IS),
    ("three", "ply"): (VIEWER, OVER_X),
    ("three", "spz"): (GLTF, AS_IT_IS),
    ("three", "spz-v4"): (GLTF, AS_IT_IS),
    ("three", "gltf"): (GLTF, AS_IT_IS),
    ("supersplat", "ply"): (VIEWER, OVER_Z),
    ("supersplat", "compressed-ply"): (VIEWER, OVER_Z),
    ("supersplat", "sog"): (VIEWER, OVER_Z),
}


@pytest.fixture(scope="session")
def programs() -> Path:
    """A folder with the programs in node_modules, as package-lock.json has them."""
    if browser.CHROMIUM is None:
        pytest.skip("there is no Chromium")
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    folder = Path(".cache/viewers")
    folder.mkdir(parents=True, exist_ok=True)
    lock = (browser.HERE / "package-lock.json").read_bytes()
    if not (folder / "done").exists() or (folder / "done").read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(browser.HERE / name, folder)
        options = ["--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(["npm", "ci", *options], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm ci failed: {done.stderr[-300:]}")
        (folder / "done").write_bytes(lock)
    return folder.absolute()


@pytest.fixture(scope="module")
def splats() -> Splats:
    """A true toy, covered with Gaussians."""
    toy = parse("a red bunny wearing a cyan scarf").toy
    assert toy is not None
    return surface_splats(toy, 8000)


@pytest.fixture(scope="module")
def server(programs: Path, splats: Splats, tmp_path_factory: pytest.TempPathFactory):
    """Serves the programs and every format of the toy."""
    folder = tmp_path_factory.mktemp("asset")
    export(list(SPLATS), splats, Path(), folder)
    with browser.serve(programs, folder) as running:
        yield running


@pytest.fixture(scope="module")
def truth(splats: Splats) -> Tensor:
    """Our render [3, R, R] on black."""
    views = orbit(*(torch.tensor([x]) for x in (AZIMUTH_DEG, ELEVATION_DEG, DISTANCE)), 40.0, 256)
    ((colors, _),) = render_chunks(splats, views, (0.0, 0.0, 0.0), torch.device("cpu"))
    return colors[0].permute(2, 0, 1).clamp(0.0, 1.0)


def place(frame: Quat, turned: tuple[float, float, float]) -> dict[str, str]:
    """Our camera, and our +Z, in the program's world."""
    azimuth, elevation = math.radians(AZIMUTH_DEG), math.radians(ELEVATION_DEG)
    across = DISTANCE * math.cos(elevation)
    height = DISTANCE * math.sin(elevation)
    camera = [across * math.cos(azimuth), across * math.sin(azimuth), height]
    ours = torch.tensor([camera, [0.0, 0.0, 1.0]], dtype=torch.float64)
    theirs = ours @ rotation_matrix(frame).T * torch.tensor(turned, dtype=torch.float64)
    return {
        name: ",".join(f"{value:.6f}" for value in row.tolist())
        for name, row in zip(("position", "up"), theirs, strict=True)
    }


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10.0 * (one - other).square().mean().log10())


@pytest.mark.parametrize(("program", "name"), SHOWN, ids=["-".join(key) for key in SHOWN])
def test_splats_are_seen_as_we_render_them(program: str, name: str, server, truth: Tensor) -> None:
    frame, turned = SHOWN[program, name]
    asked = place(frame, turned) | {"viewer": program, "splats": "1"}
    if turned == OVER_X:  # SuperSplat turns by itself; the others' pages turn each file
        asked["turn"] = "1"
    seen = browser.picture(server, file=f"/asset/{SPLATS[name].file}", **asked)
    SEEN.mkdir(parents=True, exist_ok=True)
    pixels = (255 * torch.cat([truth, seen], 2)).round().byte().permute(1, 2, 0)
    imageio.imwrite(SEEN / f"{program}-{name}.png", pixels.numpy())
    likeness = psnr(seen, truth)
    print(f"{program}, {name}: {likeness:.1f} dB")
    assert likeness > LEAST_DB[program]
    for wrong in (seen.flip(2), seen.flip(1), seen.rot90(1, (1, 2)), seen.flip(0)):
        assert psnr(wrong, truth) < 20.0, "the bar would pass another picture"
