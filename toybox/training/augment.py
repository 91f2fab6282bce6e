"""Making clean renders look like renders of unfinished Gaussians.

Images are [n, 3, h, w] in [0, 1]. Everything is a batch of torch operations with a number for
each image; nothing waits for the device.
"""

import math

import torch
from torch import Tensor

from toybox.training.losses import broadcast


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """[count] numbers between low and high, on the generator's device."""
    u = torch.rand(count, generator=generator, device=generator.device)
    return low + (high - low) * u


def sometimes(images: Tensor, changed: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """`changed` for about `share` of the images, the others as they were."""
    chosen = uniform(len(images), 0.0, 1.0, generator) < share
    return torch.where(broadcast(chosen, images), changed, images)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, `sigma` [n] pixels; by FFT, so any width costs the same (edges wrap round)."""
    h, w = images.shape[-2:]
    fy = torch.fft.fftfreq(h, device=images.device)[:, None]
    fx = torch.fft.rfftfreq(w, device=images.device)[None, :]
    squared = (fy.square() + fx.square())[None, None]
    gain = (-2.0 * math.pi**2 * broadcast(sigma.square(), images) * squared).exp()
    return torch.fft.irfft2(torch.fft.rfft2(images) * gain, s=(h, w)).clamp(0.0, 1.0)


def fade(images: Tensor, background: Tensor, opacity: Tensor) -> Tensor:
    """The object more transparent: `opacity` [n] of it over the plain background [n, 3]."""
    plain = background[:, :, None, None]
    return plain + broadcast(opacity, images) * (images - plain)


def tone(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Brightness [n] multiplies, contrast [n] stretches about the middle grey."""
    scaled = images * broadcast(brightness, images)
    return (0.5 + broadcast(contrast, images) * (scaled - 0.5)).clamp(0.0, 1.0)


def grain(images: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Independent normal noise of standard deviation `sigma` [n] on every value."""
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return (images + broadcast(sigma, images) * noise).clamp(0.0, 1.0)


def speckles(
    images: Tensor, count: int, sigma: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """`count` translucent round spots of any colour, as stray Gaussians leave.

    Args:
        sigma: smallest and largest standard deviation as a share of the image's side.
    """
    n, _, h, w = images.shape
    y = torch.linspace(0.0, 1.0, h, device=images.device)[:, None]
    x = torch.linspace(0.0, 1.0, w, device=images.device)[None, :]
    for _ in range(count):
        u = torch.rand(6, n, 1, 1, generator=generator, device=images.device)
        width = sigma[0] * (sigma[1] / sigma[0]) ** u[2]
        alpha = torch.exp(-((x - u[0]).square() + (y - u[1]).square()) / (2.0 * width.square()))
        colour = torch.rand(n, 3, 1, 1, generator=generator, device=images.device)
        alpha = (u[3] * alpha)[:, None]
        images = images + alpha * (colour - images)
    return images


def unfinished(
    images: Tensor, background: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """About `share` of the images blurred, faded, grainy or off in tone, each in some measure."""
    n, side = len(images), images.shape[-1]
    soft = blur(images, side * uniform(n, 0.002, 0.05, generator))
    changed = sometimes(images, soft, 0.5, generator)
    changed = fade(changed, background, uniform(n, 0.3, 1.0, generator))
    changed = sometimes(changed, speckles(changed, 6, (0.005, 0.1), generator), 0.4, generator)
    toned = tone(changed, uniform(n, 0.7, 1.3, generator), uniform(n, 0.7, 1.4, generator))
    changed = sometimes(changed, toned, 0.5, generator)
    grainy = grain(changed, uniform(n, 0.0, 0.05, generator), generator)
    changed = sometimes(changed, grainy, 0.25, generator)
    return sometimes(images, changed, share, generator)
