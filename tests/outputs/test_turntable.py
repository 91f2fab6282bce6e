"""The video and the still: sizes, order, colours, and what happens when writing fails."""

import imageio.v2 as imageio
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from stabledreamer_core.errors import UserError
from stabledreamer_core.assets.turntable import write_preview, write_turntable

SMALL = {"frames": 12, "resolution": 64, "preview_resolution": 48, "elevation_deg": 0.0}


@pytest.fixture(scope="module")
def ball(cover):
    """Red in front (+X), green on its left (+Y), blue behind and on its right."""

    def colour(points):
        red, green = points[:, 0] > 0.3, points[:, 1] > 0.3
        return np.stack([red, green & ~red, ~red & ~green], 1).astype(float)

    return cover(trimesh.creation.icosphere(3, 0.6), colour, count=2000, size=0.04)


@pytest.fixture
def settings(config):
    return config.turntable.model_copy(update=SMALL)


def test_video_has_the_asked_frames_size_and_rate(ball, settings, tmp_path, device):
    path = tmp_path / "turntable.mp4"
    write_turntable(ball, settings.model_copy(update={"fps": 24}), path, device)
    with imageio.get_reader(path) as video:
        assert video.count_frames() == 12
        about = video.get_meta_data()
    assert about["size"] == (64, 64)
    assert about["fps"] == 24
    assert about["codec"] == "h264"
    # Players that miss any of the three tags guess the matrix from the size: red turns crimson.
    assert about["pix_fmt"].startswith("yuv420p(tv, bt709/bt709/iec61966-2-1")


def test_video_starts_in_front_and_turns_to_the_left_side(ball, settings, tmp_path, device):
    path = tmp_path / "turntable.mp4"
    write_turntable(ball, settings, path, device)
    with imageio.get_reader(path) as video:
        centres = [frame[32, 32].astype(int) for frame in video]
    assert [int(centres[k].argmax()) for k in (0, 3, 6, 9)] == [0, 1, 2, 2]


def test_video_shows_the_background_as_its_plain_value(ball, settings, tmp_path, device):
    """Within what 8-bit chroma at half resolution can hold."""
    for background in ((0.93, 0.93, 0.92), (0.2, 0.5, 0.8)):
        path = tmp_path / "turntable.mp4"
        write_turntable(ball, settings.model_copy(update={"background": background}), path, device)
        with imageio.get_reader(path) as video:
            corner = video.get_data(0)[2:6, 2:6].mean((0, 1))
        assert np.abs(corner - 255 * np.array(background)).max() < 4


def test_same_gaussians_same_bytes(ball, settings, tmp_path, device):
    for name in ("a.mp4", "b.mp4"):
        write_turntable(ball, settings, tmp_path / name, device)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_preview_is_a_large_view_and_eight_small_ones(ball, settings, tmp_path, device):
    write_preview(ball, settings, tmp_path / "preview.png", device)
    picture = np.array(Image.open(tmp_path / "preview.png"))
    assert picture.shape == (96, 96 + 4 * 48, 3)
    centres = [picture[24 + 48 * (k // 4), 96 + 24 + 48 * (k % 4)] for k in range(8)]
    assert [int(centre.argmax()) for centre in (centres[0], centres[2], centres[4])] == [0, 1, 2]
    assert tuple(picture[0, 0]) == (237, 237, 235)


def test_no_gaussians_make_an_empty_picture(nothing, settings, tmp_path, device):
    write_preview(nothing, settings, tmp_path / "preview.png", device)
    assert np.array(Image.open(tmp_path / "preview.png")).std((0, 1)).max() == 0


def test_a_gaussian_that_is_not_finite_is_left_out(ball, settings, tmp_path, device):
    broken = {key: value.clone() for key, value in ball.items()}
    broken["means"][0] = torch.nan
    without = {key: value[1:] for key, value in ball.items()}
    for name, splats in (("a.png", broken), ("b.png", without)):
        write_preview(splats, settings, tmp_path / name, device)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_folder_that_cannot_be_made_is_the_users_mistake(ball, settings, tmp_path, device):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_turntable(ball, settings, tmp_path / "file" / "turntable.mp4", device)


def test_a_failed_video_leaves_the_old_one_and_no_litter(
    ball, settings, tmp_path, device, monkeypatch
):
    path = tmp_path / "turntable.mp4"
    path.write_bytes(b"old")

    def fail(*_args, **_kwargs):
        raise RuntimeError("no more")

    monkeypatch.setattr("stabledreamer_core.assets.turntable.to_bytes", fail)
    with pytest.raises(RuntimeError):
        write_turntable(ball, settings, path, device)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["turntable.mp4"]
