"""The report: offline, escaped, with the mesh inside it; and the mesh read back as written."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from stabledreamer_core.errors import UserError
from stabledreamer_core.assets.mesh.glb import Surface, write_glb
from stabledreamer_core.assets.mesh.read import read_glb
from tasks.report.page import write_report

TRIANGLE = Surface(
    vertices=np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    normals=np.full((3, 3), 3**-0.5),
    faces=np.array([[0, 1, 2]]),
    colors=np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.1, 0.2, 0.9]]),
)


def asset(folder: Path, prompt: str = "a red bear") -> Path:
    write_glb(folder / "mesh.glb", TRIANGLE)
    stage = {"iterations": 3, "seconds": 60.0, "losses": [0.5, 0.1, 0.05], "gaussians": 7}
    record = {
        "prompt": prompt,
        "seed": 3,
        "device": "cpu",
        "metrics": {"category": 0.875, "view": None},
        "stages": {"stage1": stage, "stage2": stage},
        "config": {"stage1": {"prior": prompt}},
        "packages": {"torch": "2.13.0"},
        "code": {"version": "0.1.0", "commit": "abc"},
        "mesh": {"vertices": 3},
        "files": {},
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_the_page_shows_the_record_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    page = write_report(asset(tmp_path)).read_text()
    assert '<h1 dir="auto">a red bear</h1>' in page and "0.875" in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "import(" not in page and "fetch(" not in page
    assert page.count('<polyline class="thick"') == 2  # the losses; the config says no noise level
    assert ">view<" not in page  # a figure that does not apply is left out


def test_a_hostile_prompt_is_text(tmp_path: Path) -> None:
    page = write_report(asset(tmp_path, "<script>alert('x')</script> $seed")).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page and "$seed" in page


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
