"""Toys with too many fronts, or none: cameras that see a toy turned on purpose."""

from collections.abc import Callable

import torch
from torch import Tensor

from toybox.metrics.detail import gaussian_blur
from toybox.metrics.pictures import Camera, Cutout

Pose = Callable[[Tensor], Tensor]  # azimuths in degrees -> which side the toy shows there


def posed(camera: Camera, pose: Pose) -> Camera:
    """`pose` says which side the toy shows to each azimuth."""
    return lambda azimuth_deg, size: camera(pose(azimuth_deg), size)


def retouched(camera: Camera, change: Callable[[Tensor], Tensor]) -> Camera:
    """`change` is done to colours and to alpha."""

    def take(azimuth_deg: Tensor, size: int) -> Cutout:
        pictures = camera(azimuth_deg, size)
        return Cutout(change(pictures.colour), change(pictures.alpha))

    return take


def blurred(camera: Camera, share: float = 1 / 64) -> Camera:
    """Blurred by a standard deviation of that share of the side; 1/64 is 2 of 128 pixels."""
    return retouched(camera, lambda image: gaussian_blur(image, share * image.shape[-1]))


def faced(count: int) -> Pose:
    """`count` fronts, evenly spaced: the sides around the front are shown that many times."""
    turn = 360.0 / count
    # Halves round to even, so that two neighbours share the side between them.
    return lambda azimuth_deg: (azimuth_deg - torch.round(azimuth_deg / turn) * turn) % 360.0


def without_front(azimuth_deg: Tensor) -> Tensor:
    """No front: the half with the back is shown twice."""
    return (faced(2)(azimuth_deg) + 180.0) % 360.0
