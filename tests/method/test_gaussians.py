"""The scene: its start, its activations, and PLY files read back by us and by gsplat's writer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gsplat import export_splats
from plyfile import PlyData
from scipy.spatial.transform import Rotation

from stabledreamer_core.assets.splats.ply import SH_C0, load_ply, save_ply
from stabledreamer_core.errors import UserError
from stabledreamer_core.scene.gaussians import KEYS, activate, init_ball
from stabledreamer_core.seeds import generator


def ball(count: int = 5000) -> dict[str, torch.Tensor]:
    return init_ball(count, 0.7, 0.05, 0.1, generator("test"))


def test_ball_is_evenly_filled() -> None:
    distance = ball()["means"].norm(dim=-1)
    assert distance.max() <= 0.7
    # Uniform in volume: the share within radius r is (r / R)^3.
    for radius in (0.3, 0.5, 0.6):
        share = (distance < radius).float().mean().item()
        assert share == pytest.approx((radius / 0.7) ** 3, abs=0.02)


def test_activation_inverts_the_start() -> None:
    gaussians = activate(ball())
    torch.testing.assert_close(gaussians["scales"], torch.full((5000, 3), 0.05))
    torch.testing.assert_close(gaussians["opacities"], torch.full((5000,), 0.1))
    torch.testing.assert_close(gaussians["quats"].norm(dim=-1), torch.ones(5000))
    assert gaussians["colors"].mean().item() == pytest.approx(0.5, abs=0.01)


def test_ply_round_trip_drops_what_is_not_finite(tmp_path: Path) -> None:
    splats = ball(100)
    splats["opacities"][3] = float("nan")
    save_ply(splats, tmp_path / "a.ply")
    back = load_ply(tmp_path / "a.ply")
    kept = [index for index in range(100) if index != 3]
    for key in KEYS:
        torch.testing.assert_close(back[key], splats[key][kept], rtol=1e-4, atol=1e-5)


def test_ply_of_no_gaussians(tmp_path: Path) -> None:
    save_ply(ball(0), tmp_path / "none.ply")
    assert all(len(value) == 0 for value in load_ply(tmp_path / "none.ply").values())


def test_ply_agrees_with_gsplats_own_writer(tmp_path: Path) -> None:
    splats = ball(50)
    export_splats(
        splats["means"],
        splats["scales"],
        torch.nn.functional.normalize(splats["quats"], dim=-1),
        splats["opacities"],
        ((splats["colors"].sigmoid() - 0.5) / SH_C0)[:, None],
        torch.zeros(50, 0, 3),
        save_to=str(tmp_path / "theirs.ply"),
    )
    theirs = load_ply(tmp_path / "theirs.ply")
    save_ply(splats, tmp_path / "ours.ply")
    ours = load_ply(tmp_path / "ours.ply")
    for key in KEYS:
        torch.testing.assert_close(ours[key], theirs[key])


def test_ply_stands_upright_in_viewers(tmp_path: Path) -> None:
    splats = ball(50)
    save_ply(splats, tmp_path / "a.ply")
    data = PlyData.read(str(tmp_path / "a.ply"))
    assert data.comments == ["StableDreamer axes: +Y down, front towards -Z"]
    table = data["vertex"].data
    axes = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])  # (x, y, z) -> (y, -z, -x)
    means = np.stack([table[name] for name in "xyz"], 1)
    np.testing.assert_array_equal(means, splats["means"].numpy() @ axes.T)
    quats = np.stack([table[f"rot_{index}"] for index in range(4)], 1)
    theirs = Rotation.from_quat(quats, scalar_first=True).as_matrix()
    ours = Rotation.from_quat(splats["quats"].numpy(), scalar_first=True).as_matrix()
    np.testing.assert_allclose(theirs, axes @ ours, atol=1e-6)


def test_a_ply_without_our_comment_is_in_our_frame(tmp_path: Path) -> None:
    save_ply(ball(50), tmp_path / "a.ply")
    data = PlyData.read(str(tmp_path / "a.ply"))
    data.comments = []
    data.write(str(tmp_path / "old.ply"))
    table = data["vertex"].data
    means = np.stack([table[name] for name in "xyz"], 1)
    np.testing.assert_array_equal(load_ply(tmp_path / "old.ply")["means"].numpy(), means)


@pytest.mark.parametrize("damage", ["truncate", "text", "fields"])
def test_damaged_ply_is_a_users_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.ply"
    save_ply(ball(10), path)
    data = path.read_bytes()
    path.write_bytes(
        {
            "truncate": data[:-5],
            "text": b"hello",
            "fields": data.replace(b"opacity", b"opacitx"),
        }[damage]
    )
    with pytest.raises(UserError, match=r"a\.ply"):
        load_ply(path)
