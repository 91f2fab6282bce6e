"""The scene: anisotropic 3D Gaussians as a dict of tensors.

A scene ("splats") holds what the optimiser sees:
    means [N, 3] world, quats [N, 4] wxyz, scales [N, 3] log, opacities [N] logit,
    colors [N, 3] logit of linear RGB.
`activate` gives what the rasteriser takes; assets/splats/ keeps scenes in files.
"""

import torch
from torch import Tensor

Splats = dict[str, Tensor]

KEYS = ("means", "quats", "scales", "opacities", "colors")


def init_ball(
    count: int, radius: float, scale: float, opacity: float, generator: torch.Generator
) -> Splats:
    """Spread `count` grey isotropic Gaussians evenly through a ball about the origin.

    Args:
        radius: of the ball, world units. scale: standard deviation, world units.
        opacity: in (0, 1). generator: a CPU generator.
    """
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    distance = radius * torch.rand(count, 1, generator=generator) ** (1 / 3)
    quats = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1)
    return {
        "means": direction * distance,
        "quats": quats,
        "scales": torch.full((count, 3), scale).log(),
        "opacities": torch.logit(torch.full((count,), opacity)),
        "colors": 0.1 * torch.randn(count, 3, generator=generator),
    }


def activate(splats: Splats | torch.nn.ParameterDict) -> Splats:
    """Map to linear scales, opacities and colours in (0, 1), and unit quaternions."""
    return {
        "means": splats["means"],
        "quats": torch.nn.functional.normalize(splats["quats"], dim=-1),
        "scales": splats["scales"].exp(),
        "opacities": splats["opacities"].sigmoid(),
        "colors": splats["colors"].sigmoid(),
    }


def finite(splats: Splats) -> Splats:
    """Keep the Gaussians whose every number is finite."""
    keep = torch.stack([splats[key][..., None].flatten(1).isfinite().all(1) for key in KEYS])
    return {key: splats[key][keep.all(0)] for key in KEYS}
