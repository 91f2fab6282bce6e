"""What others' programs show of our files: upright, the front to the camera, in our colours.

Each format is opened by three.js, Spark, SuperSplat's viewer or model-viewer, in a Chromium without
a screen or a network, and its picture compared with our own render from there. `pytest -m slow
tests/viewers` needs Chromium and npm; the programs' versions are in package.json.
"""

import json
import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from torch import Tensor

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.formats import NAMES, SPLATS, export
from stabledreamer_core.assets.mesh.extract import write_mesh
from stabledreamer_core.assets.mesh.glb import Place, to_gltf_axes
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
MESHES = [  # model-viewer fetches what unpacks asset-light.glb from elsewhere
    *[("modelviewer", "mesh.glb"), ("three", "mesh.glb"), ("three", "asset-light.glb")],
    *[("three", "mesh.obj"), ("three", "mesh.usdz")],
]
LEAST_MESH_DB = 26.0  # a mesh has no soft outline


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
def asset(splats: Splats, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format of the toy, its colours as they are."""
    folder = tmp_path_factory.mktemp("asset")
    mesh, lite = folder / "mesh.glb", folder / "asset-light.glb"
    settings = load_config().mesh.model_copy(update={"material": "unlit"})
    write_mesh(splats, settings, mesh, torch.device("cpu"), lite=lite)
    export(NAMES, splats, mesh, folder)
    return folder


@pytest.fixture(scope="module")
def server(programs: Path, asset: Path):
    """Serves the programs and the asset."""
    with browser.serve(programs, asset) as running:
        yield running


@pytest.fixture(scope="module")
def truth(splats: Splats) -> Tensor:
    """Our render [3, R, R] on black."""
    views = orbit(*(torch.tensor([x]) for x in (AZIMUTH_DEG, ELEVATION_DEG, DISTANCE)), 40.0, 256)
    ((colors, _),) = render_chunks(splats, views, (0.0, 0.0, 0.0), torch.device("cpu"))
    return colors[0].permute(2, 0, 1).clamp(0.0, 1.0)


def camera() -> list[float]:
    """Where it stands in our world; it looks at the origin."""
    azimuth, elevation = math.radians(AZIMUTH_DEG), math.radians(ELEVATION_DEG)
    across = DISTANCE * math.cos(elevation)
    height = DISTANCE * math.sin(elevation)
    return [across * math.cos(azimuth), across * math.sin(azimuth), height]


def told(**vectors: Sequence[float]) -> dict[str, str]:
    """Vectors as a page is told them."""
    return {name: ",".join(f"{x:.6f}" for x in vector) for name, vector in vectors.items()}


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10.0 * (one - other).square().mean().log10())


@pytest.mark.parametrize(("program", "name"), SHOWN, ids=["-".join(key) for key in SHOWN])
def test_splats_are_seen_as_we_render_them(program: str, name: str, server, truth: Tensor) -> None:
    frame, turned = SHOWN[program, name]
    ours = torch.tensor([camera(), [0.0, 0.0, 1.0]], dtype=torch.float64)
    theirs = ours @ rotation_matrix(frame).T * torch.tensor(turned, dtype=torch.float64)
    position, up = theirs.tolist()
    asked = told(position=position, up=up, target=(0, 0, 0)) | {"viewer": program, "splats": "1"}
    if turned == OVER_X:  # SuperSplat turns by itself; the others' pages turn each file
        asked["turn"] = "1"
    seen = browser.picture(server, file=f"/asset/{SPLATS[name].file}", **asked)
    compare(f"{program}-{name}", seen, truth, LEAST_DB[program])


@pytest.mark.parametrize(("program", "file"), MESHES, ids=["-".join(key) for key in MESHES])
def test_meshes_stand_where_they_should(program: str, file: str, server, asset, truth) -> None:
    extras = json_of(asset / "mesh.glb")["meshes"][0]["extras"]
    place = Place(tuple(extras["pivot"]), extras["metres"])
    position, target = to_gltf_axes(place.to_file(np.array([camera(), [0.0, 0.0, 0.0]]))).tolist()
    asked = told(position=position, up=(0, 1, 0), target=target) | {"viewer": program}
    if file.endswith(".obj"):
        asked["materials"] = "/asset/mesh.mtl"
    seen = browser.picture(server, file=f"/asset/{file}", **asked)
    compare(f"{program}-{file}", seen, truth, LEAST_MESH_DB)


def compare(name: str, seen: Tensor, truth: Tensor, least_db: float) -> None:
    """Keep both pictures side by side; they must be alike, and no other way round."""
    SEEN.mkdir(parents=True, exist_ok=True)
    pixels = (255 * torch.cat([truth, seen], 2)).round().byte().permute(1, 2, 0)
    imageio.imwrite(SEEN / f"{name}.png", pixels.numpy())
    likeness = psnr(seen, truth)
    print(f"{name}: {likeness:.1f} dB")
    assert likeness > least_db
    for wrong in (seen.flip(2), seen.flip(1), seen.rot90(1, (1, 2)), seen.flip(0)):
        assert psnr(wrong, truth) < 20.0, "the bar would pass another picture"


def json_of(glb: Path) -> dict:
    """The JSON of a GLB."""
    content = glb.read_bytes()
    return json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
