"""Regularisers that balance geometry and colour: each a small function with a weight in params.

All return a scalar >= 0 that is 0 where there is nothing to correct. StableDreamer (section 4.3)
motivates them: Gaussians have many more ways than a NeRF to explain a noisy target.
"""

import torch
from torch import Tensor

from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.scene import Regularizers


def opacity(alphas: Tensor) -> Tensor:
    """Penalise haze: mean of 4 a (1 - a) over rendered alphas [C, H, W, 1]."""
    return (4.0 * alphas * (1.0 - alphas)).mean()


def scale(scales: Tensor, limit: float) -> Tensor:
    """Penalise blobs: mean excess of the longest axis over `limit`; scales [N, 3], world units."""
    return (scales.amax(-1) - limit).clamp(min=0.0).mean()


def anisotropy(scales: Tensor, limit: float) -> Tensor:
    """Penalise needles: mean excess of (longest / middle axis) over `limit`; scales [N, 3].

    The ratio to the middle axis leaves flat discs alone, which suit surfaces.
    PhysGaussian (Xie et al. 2023) bounds longest / shortest instead.
    """
    ordered = scales.sort(-1).values
    return (ordered[:, 2] / ordered[:, 1].clamp(min=1e-8) - limit).clamp(min=0.0).mean()


def position(means: Tensor, radius: float) -> Tensor:
    """Penalise distance: mean square beyond the ball of `radius` about the origin; means [N, 3]."""
    return (means.norm(dim=-1) - radius).clamp(min=0.0).square().mean()


def depth_smoothness(depth: Tensor, alphas: Tensor, colors: Tensor) -> Tensor:
    """Penalise mean |gradient of depth| inside the object, less where colours change too.

    Edge-aware smoothness as in Godard et al. 2017 (monodepth). depth, alphas: [C, H, W, 1];
    colors: [C, H, W, 3]. Only pixel pairs with both alphas near 1 count, so outlines do not.
    """
    total = depth.new_zeros(())
    for axis in (1, 2):
        inside = (_before(alphas, axis) * _after(alphas, axis)).detach()
        contrast = (_before(colors, axis) - _after(colors, axis)).abs().mean(-1, keepdim=True)
        step = (_before(depth, axis) - _after(depth, axis)).abs().clamp(max=0.1)
        total = total + (inside * torch.exp(-10.0 * contrast.detach()) * step).mean()
    return total


def _before(x: Tensor, axis: int) -> Tensor:
    return x.narrow(axis, 0, x.shape[axis] - 1)


def _after(x: Tensor, axis: int) -> Tensor:
    return x.narrow(axis, 1, x.shape[axis] - 1)


def saturation(colors: Tensor) -> Tensor:
    """Penalise chroma (largest minus smallest channel) above 0.9; colors [N, 3] in [0, 1]."""
    chroma = colors.amax(-1) - colors.amin(-1)
    return (chroma - 0.9).clamp(min=0.0).mean()


def leakage(alphas: Tensor, border: int = 2) -> Tensor:
    """Penalise mean alpha [C, H, W, 1] in the outermost `border` pixels: a backdrop."""
    inner = alphas[:, border:-border, border:-border].sum()
    ring = alphas.numel() - alphas[:, border:-border, border:-border].numel()
    return (alphas.sum() - inner) / ring


def regularization(
    settings: Regularizers, gaussians: Splats, colors: Tensor, alphas: Tensor, depth: Tensor
) -> Tensor:
    """Sum all of the above by weight; a term of weight 0 is not computed.

    Args:
        gaussians: activated (linear scales, colours in [0, 1]).
        colors: rendered RGB [C, H, W, 3]; alphas, depth: [C, H, W, 1].
    """
    terms = {
        "opacity": lambda: opacity(alphas),
        "scale": lambda: scale(gaussians["scales"], settings.scale_limit),
        "anisotropy": lambda: anisotropy(gaussians["scales"], settings.anisotropy_limit),
        "position": lambda: position(gaussians["means"], settings.position_radius),
        "depth_smoothness": lambda: depth_smoothness(depth, alphas, colors),
        "saturation": lambda: saturation(gaussians["colors"]),
        "leakage": lambda: leakage(alphas),
    }
    total = alphas.new_zeros(())
    for name, term in terms.items():
        weight = getattr(settings, name)
        if weight > 0.0:
            total = total + weight * term()
    return total
