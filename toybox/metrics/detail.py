"""Whether an asset is as crisp as the true toy: blurred, or noisy."""

import torch
from torch import Tensor
from torch.nn import functional as F

from toybox.metrics.pictures import Cutout

SIGMA = 1 / 128  # of the blur, as a share of the picture's side
GREY = 0.5


def detail(asset: Cutout, truth: Cutout) -> float | None:
    """High-frequency energy of the asset's views over the true toy's; 1 is equal.

    Below 1 it is blurred, above it noisy. The energy is what a Gaussian blur with a standard
    deviation of one 128th of the side takes away, squared and summed over all views on mid-grey;
    each side is divided by its outline's scale (the root of the area it covers), because a larger
    toy has a longer outline.

    How it misleads: blur and noise cancel, so a blurred toy covered in specks can reach 1: look at
    the picture too. Missing parts and paints that stand out less from one another or from grey
    than they should lower it without any blur; invented ornaments raise it.

    Args:
        asset, truth: the same V views, at the same resolution.

    Returns:
        None where the asset shows nothing at all.
    """
    area = float(asset.alpha.sum())
    if area < 1.0:
        return None
    scale = (float(truth.alpha.sum()) / area) ** 0.5
    return scale * _high_energy(asset.on(GREY)) / _high_energy(truth.on(GREY))


def _high_energy(pictures: Tensor) -> float:
    sigma = SIGMA * pictures.shape[-1]
    return float((pictures - gaussian_blur(pictures, sigma)).square().sum())


def gaussian_blur(pictures: Tensor, sigma: float) -> Tensor:
    """Pictures [V, C, R, R] blurred with a standard deviation of `sigma` pixels."""
    reach = max(1, round(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(pictures)
    channels = pictures.shape[1]
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    down = kernel[None, None, :, None].expand(channels, 1, -1, 1)
    across = kernel[None, None, None, :].expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(padded, down, groups=channels), across, groups=channels)
