"""Cameras on an orbit about the origin (conventions: docs/conventions.md).

World: right-handed, +Z up, the object faces +X. Azimuth 0 looks at the front from +X and grows
counter-clockwise seen from above; elevation grows upwards. Cameras are OpenCV (x right, y down,
z forward); `viewmats` map world to camera.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stabledreamer_core.memory import upload


@dataclass(frozen=True)
class Views:
    """C cameras that look at the origin."""

    azimuth_deg: Tensor  # [C] on the CPU, where words are chosen by it
    elevation_deg: Tensor  # [C] on the CPU
    viewmats: Tensor  # [C, 4, 4] world to camera
    Ks: Tensor  # [C, 3, 3] pixels
    resolution: int

    def to(self, device: torch.device) -> "Views":
        """Return the same cameras with their matrices on `device`."""
        matrices = upload(self.viewmats, device), upload(self.Ks, device)
        return Views(self.azimuth_deg, self.elevation_deg, *matrices, self.resolution)


def orbit(
    azimuth_deg: Tensor,
    elevation_deg: Tensor,
    distance: Tensor | float,
    fov_deg: float,
    resolution: int,
) -> Views:
    """Place cameras at `distance` (world units) from the origin, looking at it.

    Args:
        azimuth_deg, elevation_deg: [C] degrees; elevation within (-90, 90).
        distance: [C] or one number, > 0.
        fov_deg: vertical (and horizontal) field of view.
        resolution: side of the square image in pixels.
    """
    azimuth, elevation = torch.deg2rad(azimuth_deg), torch.deg2rad(elevation_deg)
    zero = torch.zeros_like(azimuth)
    outward = torch.stack(
        [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], -1
    )
    right = torch.stack([-azimuth.sin(), azimuth.cos(), zero], -1)
    forward = -outward
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], -2)
    position = outward * torch.as_tensor(distance).to(azimuth).reshape(-1, 1)

    viewmats = torch.eye(4).to(azimuth).repeat(len(azimuth), 1, 1)
    viewmats[:, :3, :3] = rotation
    viewmats[:, :3, 3] = -(rotation @ position[..., None])[..., 0]
    focal = 0.5 * resolution / math.tan(0.5 * math.radians(fov_deg))
    K = torch.tensor(
        [[focal, 0.0, resolution / 2], [0.0, focal, resolution / 2], [0.0, 0.0, 1.0]]
    ).to(azimuth)
    return Views(azimuth_deg, elevation_deg, viewmats, K.repeat(len(azimuth), 1, 1), resolution)


def around(
    count: int, elevation_deg: float, distance: float, fov_deg: float, resolution: int
) -> Views:
    """Place `count` cameras at equal steps of azimuth, the first one in front."""
    azimuth_deg = torch.arange(count) * (360.0 / count)
    return orbit(
        azimuth_deg, torch.full_like(azimuth_deg, elevation_deg), distance, fov_deg, resolution
    )


def sample_orbit(
    count: int,
    elevation_deg: tuple[float, float],
    distance: tuple[float, float],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw random places for `orbit`, stratified in azimuth: one in each of `count` equal arcs.

    The arcs start at a random angle, so every azimuth is equally likely; the sine of the
    elevation is uniform between its bounds, so every direction of the band is.

    Returns:
        azimuth_deg, elevation_deg, distance: each [count].
    """
    start = torch.rand(1, generator=generator) * 360.0
    jitter = torch.rand(count, generator=generator)
    azimuth_deg = (start + (torch.arange(count) + jitter) * (360.0 / count)) % 360.0
    low, high = (math.sin(math.radians(bound)) for bound in elevation_deg)
    elevation = torch.asin(low + (high - low) * torch.rand(count, generator=generator))
    distances = distance[0] + (distance[1] - distance[0]) * torch.rand(count, generator=generator)
    return azimuth_deg, torch.rad2deg(elevation), distances
