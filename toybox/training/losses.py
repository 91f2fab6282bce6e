"""Losses of the diffusion training, a function an equation. All arithmetic in float32."""

import math

import torch
from torch import Tensor

LEAST_S = 0.05  # PRXPixelPipeline divides by no less


def broadcast(values: Tensor, like: Tensor) -> Tensor:
    """[n] values shaped to multiply `like` [n, ...]."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def add_noise(x: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps; `alphas_cumprod` [n] is each one's abar_t."""
    abar = broadcast(alphas_cumprod, x)
    return abar.sqrt() * x + (1.0 - abar).sqrt() * noise


def strata(count: int, generator: torch.Generator) -> Tensor:
    """[count] numbers, one in each of [0, 1), [1, 2), ... [count - 1, count) (less variance)."""
    jitter = torch.rand(count, generator=generator, device=generator.device)
    return torch.arange(count, device=generator.device) + jitter


def stratified_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """[count] timesteps, one in each of `count` equal shares of 0 .. total - 1."""
    return (strata(count, generator) * (total / count)).long().clamp_(max=total - 1)


def stratified_levels(count: int, mean: float, std: float, generator: torch.Generator) -> Tensor:
    """[count] noise levels s in (0, 1) of a flow, logit-normal (Esser et al. 2024, equation 19).

    logit(s) is N(mean, std^2), a draw in each of `count` equal shares of its probability.
    """
    share = (strata(count, generator) / count).clamp(1e-6, 1.0 - 1e-6)
    return torch.sigmoid(mean + std * torch.special.ndtri(share))


def add_flow_noise(x: Tensor, noise: Tensor, s: Tensor, noise_scale: float) -> Tensor:
    """x_t = (1 - s) x + s noise_scale eps: a straight line from image to noise; `s` [n]."""
    s = broadcast(s, x)
    return (1.0 - s) * x + s * noise_scale * noise


def velocity_weight(s: Tensor) -> Tensor:
    """Weight of x0's squared error that makes it the velocity's, (x_t - x0) / s.

    1 / max(s, .05)^2: flow matching by a network that predicts x0 (Li & He 2025, "Back to Basics:
    Let Denoising Generative Models Denoise"), divided as `PRXPixelPipeline` divides to sample.
    """
    return s.clamp(min=LEAST_S).pow(-2)


def min_snr_weight(alphas_cumprod: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) / SNR for noise prediction, SNR = abar / (1 - abar) (arXiv 2303.09556)."""
    snr = alphas_cumprod / (1.0 - alphas_cumprod)
    return snr.clamp(max=gamma) / snr


def weighted_mse(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over the batch of weight [n] times each sample's mean squared error."""
    return (weight * (prediction - target).square().flatten(1).mean(1)).mean()


def normal_kl(mean1: Tensor, logvar1: Tensor, mean2: Tensor, logvar2: Tensor) -> Tensor:
    """KL(N(mean1, e^logvar1) || N(mean2, e^logvar2)) in nats, element by element."""
    ratio = (logvar1 - logvar2).exp() + (mean1 - mean2).square() * (-logvar2).exp()
    return 0.5 * (logvar2 - logvar1 - 1.0 + ratio)


def discretised_log_likelihood(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Log probability of 8-bit values under a normal (DDPM, arXiv 2006.11239, equation 13).

    Args:
        x: values in [-1, 1], 255 steps apart; the outermost bins reach to infinity.
    """
    inverse = (-0.5 * logvar).exp()
    normal = torch.special.ndtr
    above = torch.where(x > 0.999, 1.0, normal(inverse * (x - mean + 1.0 / 255.0)))
    below = torch.where(x < -0.999, 0.0, normal(inverse * (x - mean - 1.0 / 255.0)))
    return (above - below).clamp(min=1e-12).log()


def variance_bound(
    x: Tensor, x_t: Tensor, eps: Tensor, fraction: Tensor, timesteps: Tensor, alphas_cumprod: Tensor
) -> Tensor:
    """[n] terms of the variational bound, bits a dimension (arXiv 2102.09672, section 3).

    The mean follows `eps` without a gradient, so the bound trains the variance alone.

    Args:
        x, x_t: clean and noisy images [n, c, h, w].
        eps: predicted noise.
        fraction: the network's variance output, in [-1, 1] between the posterior's and beta_t.
        timesteps: [n] int64.
        alphas_cumprod: [T] the whole schedule.
    """
    abar_all = alphas_cumprod.double()
    previous_all = torch.cat([torch.ones_like(abar_all[:1]), abar_all[:-1]])
    beta_all = 1.0 - abar_all / previous_all
    posterior_all = beta_all * (1.0 - previous_all) / (1.0 - abar_all)
    posterior_all[0] = posterior_all[1]  # it is 0 there, and its logarithm is needed
    table = torch.stack([abar_all, previous_all, beta_all, posterior_all.log(), beta_all.log()])
    picked = table[:, timesteps].to(x.dtype)
    abar, previous, beta, low, high = (broadcast(row, x) for row in picked)

    def posterior_mean(x0: Tensor) -> Tensor:  # DDPM, equation 7
        alpha = abar / previous
        return (previous.sqrt() * beta * x0 + alpha.sqrt() * (1.0 - previous) * x_t) / (1.0 - abar)

    x0 = ((x_t - (1.0 - abar).sqrt() * eps.detach()) / abar.sqrt()).clamp(-1.0, 1.0)
    logvar = low + 0.5 * (fraction + 1.0) * (high - low)  # equation 15
    mean = posterior_mean(x0)
    kl = normal_kl(posterior_mean(x), low, mean, logvar)
    first = -discretised_log_likelihood(x, mean, logvar)
    nats = torch.where(broadcast(timesteps == 0, x), first, kl)
    return nats.flatten(1).mean(1) / math.log(2.0)
