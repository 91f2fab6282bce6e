"""The autoencoder's training: the contrast term, the squares of the renders, what is exported."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from toybox.training.augment import blur
from toybox.training.export import half
from toybox.training.models import autoencoder
from toybox.training.settings import SETTINGS, load_training
from toybox.training.vae import contrast_l1, crop


def bars(phase: int = 0) -> Tensor:
    """[1, 3, 64, 64] upright bars of 8 pixels, black and white."""
    column = ((torch.arange(64) + phase) // 8 % 2).float()
    return column.expand(1, 3, 64, 64)


def test_contrast_is_lost_by_blur_and_not_by_place() -> None:
    sharp = bars()
    lost = [float(contrast_l1(sharp, blur(sharp, torch.tensor([s])))) for s in (0.5, 1.0, 2.0)]
    assert 0.0 == float(contrast_l1(sharp, sharp)) < lost[0] < lost[1] < lost[2]
    # bars two pixels off, an error of 1 at a quarter of the pixels, have nearly the same contrasts
    assert float(contrast_l1(sharp, bars(2))) < 0.2 * lost[2]


def test_of_one_window_it_is_the_root_of_the_mean_square() -> None:
    flat, edge = torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)
    edge[..., 4:] = 1.0  # one difference across in each of 8 rows of 8
    torch.testing.assert_close(
        contrast_l1(edge, flat), torch.tensor((1 / 8 + 1e-5) ** 0.5 - 1e-5**0.5)
    )


def test_squares_are_drawn_by_the_steps_seed_and_reach_every_corner() -> None:
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = set()
    for seed in range(200):
        square = crop(images, 3, torch.Generator().manual_seed(seed))
        assert torch.equal(square, crop(images, 3, torch.Generator().manual_seed(seed)))
        assert square.shape == (1, 1, 3, 3)
        found.add(float(square[0, 0, 0, 0]))
    assert found == {0.0, 1.0, 4.0, 5.0}
    assert crop(images, 4, torch.Generator()) is images


def test_what_is_exported_names_no_folder_of_a_warm_start(tmp_path: Path) -> None:
    vae = load_training(SETTINGS, ["vae.channels=[8, 8]", "vae.norm_groups=2"]).vae
    autoencoder(vae).save_pretrained(tmp_path / "before")
    half(AutoencoderKL.from_pretrained(tmp_path / "before")).save_pretrained(tmp_path / "after")
    config = json.loads((tmp_path / "after/config.json").read_text())
    assert str(tmp_path) not in json.dumps(config)
    assert config["block_out_channels"] == [8, 8]
