"""Pictures of nothing: what the judge must learn to answer "none of these" to.

Noise, renders blurred beyond recognition, lumps, clouds of translucent Gaussians as a shape that
has only begun to grow, mixtures of several objects, empty backgrounds.
"""

import torch
from torch import Tensor

from toybox.training.augment import blur, grain, uniform
from toybox.training.losses import broadcast

KINDS = 8
BLUR = (5.0 / 64.0, 14.0 / 64.0)  # standard deviation as a share of the image's side


def nothing(images: Tensor, background: Tensor, generator: torch.Generator) -> Tensor:
    """As many pictures of nothing as there are renders in `images` [n, 3, h, w] in [0, 1].

    Args:
        images: renders whose colours and blurred shapes the pictures use.
        background: [n, 3] their plain backgrounds.
    """
    n, side = len(images), images.shape[-1]
    plain = background[:, :, None, None].expand_as(images)
    blurred = blur(images, side * uniform(n, *BLUR, generator))
    kinds = torch.stack(
        [
            noise(images, generator),
            blurred,
            blurred,
            lumps(plain, 6, generator),
            lumps(plain, 1, generator),
            cloud(plain, 24, generator),
            silhouette(images, plain, generator),
            plain,
        ]
    )
    assert len(kinds) == KINDS
    kind = torch.randint(KINDS, (n,), generator=generator, device=images.device)
    picked = kinds[kind, torch.arange(n, device=images.device)]
    return grain(picked, uniform(n, 0.0, 0.04, generator), generator)


def noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of every coarseness: white, and smoothed by up to a sixth of the side."""
    n, side = len(images), images.shape[-1]
    white = torch.rand(images.shape, generator=generator, device=images.device)
    sigma = 0.2 * (side / 6.0 / 0.2) ** uniform(n, 0.0, 1.0, generator)
    smooth = blur(white, sigma)
    mean = smooth.mean((2, 3), keepdim=True)
    std = smooth.std((2, 3), keepdim=True).clamp(min=1e-4)
    strength = broadcast(uniform(n, 0.03, 0.35, generator), images)
    level = torch.rand(n, 3, 1, 1, generator=generator, device=images.device)
    return (level + strength * (smooth - mean) / std).clamp(0.0, 1.0)


def lumps(plain: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A union of `count` shaded ellipsoids around the middle, of one or several colours."""
    n, _, h, w = plain.shape
    device = plain.device
    y = torch.linspace(-1.0, 1.0, h, device=device)[None, :, None]
    x = torch.linspace(-1.0, 1.0, w, device=device)[None, None, :]
    base = torch.rand(n, 3, generator=generator, device=device)
    variety = uniform(n, 0.0, 1.0, generator)[:, None].square()
    picture, depth = plain, torch.full((n, h, w), -1e3, device=device)
    for _ in range(count):
        u = torch.rand(8, n, 1, 1, generator=generator, device=device)
        angle, spread = 6.2832 * u[0], 0.35 if count > 1 else 0.1
        cx, cy = spread * (2.0 * u[1] - 1.0), spread * (2.0 * u[2] - 1.0)
        a, b = 0.1 + 0.4 * u[3], 0.1 + 0.4 * u[4]
        p = ((x - cx) * angle.cos() + (y - cy) * angle.sin()) / a
        q = ((y - cy) * angle.cos() - (x - cx) * angle.sin()) / b
        bulge = (1.0 - p.square() - q.square()).clamp(min=0.0).sqrt()
        light = 0.6 + 0.4 * (bulge + 0.5 * (2.0 * u[5] - 1.0) * p - 0.3 * q).clamp(0.0, 1.0)
        here = (bulge > 0.0) & (bulge * a + u[6] > depth)
        own = torch.rand(n, 3, generator=generator, device=device)
        colour = (base + variety * (own - base))[:, :, None, None]
        picture = torch.where(here[:, None], colour * light[:, None], picture)
        depth = torch.where(here, bulge * a + u[6], depth)
    return blur(picture, 0.3 + 2.5 * uniform(n, 0.0, 1.0, generator).square())


def cloud(plain: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` translucent round Gaussians in a ball, their colours around a common one."""
    n, _, h, w = plain.shape
    device = plain.device
    y = torch.linspace(-1.0, 1.0, h, device=device)[None, :, None]
    x = torch.linspace(-1.0, 1.0, w, device=device)[None, None, :]
    base = torch.rand(n, 3, generator=generator, device=device)
    spread = 0.1 + 0.25 * torch.rand(n, 1, 1, generator=generator, device=device)
    opacity = 0.1 + 0.9 * torch.rand(n, 1, 1, generator=generator, device=device)
    width = 0.05 + 0.2 * torch.rand(n, 1, 1, generator=generator, device=device)
    picture = plain
    for _ in range(count):
        centre = spread * torch.randn(2, n, 1, 1, generator=generator, device=device)
        squared = (x - centre[0]).square() + (y - centre[1]).square()
        alpha = (opacity * torch.exp(-squared / (2.0 * width.square())))[:, None]
        own = torch.randn(n, 3, generator=generator, device=device)
        colour = (base + 0.15 * own).clamp(0.0, 1.0)[:, :, None, None]
        picture = picture + alpha * (colour - picture)
    return picture


def silhouette(images: Tensor, plain: Tensor, generator: torch.Generator) -> Tensor:
    """A render's outline, rounded until only a lump is left, filled with soft colours."""
    n, side = len(images), images.shape[-1]
    difference = (images - plain).abs().amax(1, keepdim=True)
    mask = (difference > 0.03).float()
    soft = blur(mask, side * uniform(n, 5.0 / 64.0, 9.0 / 64.0, generator))
    level = broadcast(uniform(n, 0.2, 0.5, generator), images)
    lump = ((soft - level) * 12.0 + 0.5).clamp(0.0, 1.0)
    base = torch.rand(n, 3, 1, 1, generator=generator, device=images.device)
    patches = torch.rand(images.shape, generator=generator, device=images.device)
    patches = blur(patches, side * uniform(n, 0.03, 0.1, generator)) - 0.5
    strength = broadcast(uniform(n, 0.0, 5.0, generator), images)
    colours = (base + strength * patches).clamp(0.0, 1.0)
    return plain + lump * (colours - plain)
