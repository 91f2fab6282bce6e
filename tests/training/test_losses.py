"""The losses against closed forms and independent implementations."""

import math

import torch
from diffusers import DDPMScheduler
from torch.distributions import Normal, kl_divergence

from toybox.training.losses import (
    add_noise,
    discretised_log_likelihood,
    min_snr_weight,
    normal_kl,
    stratified_timesteps,
    variance_bound,
    weighted_mse,
)

SCHEDULER = DDPMScheduler(
    beta_schedule="squaredcos_cap_v2", variance_type="learned_range", clip_sample=True
)


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kl_is_that_of_two_normals() -> None:
    mean1, logvar1, mean2, logvar2 = images(4, 100)
    expected = kl_divergence(
        Normal(mean1, (0.5 * logvar1).exp()), Normal(mean2, (0.5 * logvar2).exp())
    )
    torch.testing.assert_close(normal_kl(mean1, logvar1, mean2, logvar2), expected)


def test_the_bins_of_the_discretised_likelihood_add_up_to_one() -> None:
    levels = torch.linspace(-1.0, 1.0, 256, dtype=torch.float64)
    for mean, logvar in ((0.3, -3.0), (-0.98, -6.0), (1.2, -4.0)):
        log = discretised_log_likelihood(
            levels, torch.full_like(levels, mean), torch.full_like(levels, logvar)
        )
        assert math.isclose(float(log.exp().sum()), 1.0, rel_tol=1e-6)


def test_noise_is_added_as_the_scheduler_adds_it() -> None:
    x, noise = images(2, 5, 3, 4, 4).float()
    timesteps = torch.tensor([0, 10, 300, 800, 999])
    ours = add_noise(x, noise, SCHEDULER.alphas_cumprod[timesteps])
    torch.testing.assert_close(ours, SCHEDULER.add_noise(x, noise, timesteps))


def test_min_snr_weight() -> None:
    abar = torch.tensor([0.999, 0.9, 0.5, 0.01])
    snr = abar / (1 - abar)
    torch.testing.assert_close(
        min_snr_weight(abar, 5.0), torch.minimum(snr, torch.tensor(5.0)) / snr
    )


def test_timesteps_cover_the_schedule_evenly() -> None:
    drawn = stratified_timesteps(250, 1000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn // 4, torch.arange(250))


def test_weighted_mse() -> None:
    prediction, target = images(2, 3, 2, 2, 2)
    weight = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    expected = sum(
        w * torch.nn.functional.mse_loss(p, t)
        for w, p, t in zip(weight, prediction, target, strict=True)
    )
    torch.testing.assert_close(weighted_mse(prediction, target, weight), expected / 3)


def test_the_bound_agrees_with_the_scheduler_that_samples() -> None:
    """Mean and variance of its reverse step, rebuilt from two calls of DDPMScheduler.step."""
    n, abar = 3, SCHEDULER.alphas_cumprod.double()
    x = images(n, 3, 4, 4).clamp(-1, 1)
    noise, eps, fraction = images(3, n, 3, 4, 4, seed=1)
    fraction = fraction.tanh()
    timesteps = torch.tensor([1, 400, 990])
    x_t = add_noise(x, noise, abar[timesteps])
    ours = variance_bound(x, x_t, eps, fraction, timesteps, SCHEDULER.alphas_cumprod)
    for i, t in enumerate(timesteps.tolist()):
        true_mean = _mean(x_t[i], noise[i], t)
        mean = _mean(x_t[i], eps[i], t)
        previous = abar[t - 1]
        posterior = (1 - abar[t] / previous) * (1 - previous) / (1 - abar[t])
        variance = SCHEDULER._get_variance(t, predicted_variance=fraction[i]).exp()
        kl = kl_divergence(Normal(true_mean, posterior.sqrt()), Normal(mean, variance.sqrt()))
        torch.testing.assert_close(ours[i], kl.mean() / math.log(2), rtol=2e-3, atol=1e-6)


def _mean(x_t: torch.Tensor, eps: torch.Tensor, t: int) -> torch.Tensor:
    """The mean of x_{t-1}, as DDPM's equation 7 has it, from x0 clipped as the sampler clips it."""
    abar, previous = SCHEDULER.alphas_cumprod.double()[[t, t - 1]]
    x0 = ((x_t - (1 - abar).sqrt() * eps) / abar.sqrt()).clamp(-1, 1)
    alpha = abar / previous
    return (previous.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - previous) * x_t) / (1 - abar)


def test_the_bound_trains_the_variance_alone() -> None:
    x, x_t, eps, fraction = images(4, 2, 3, 4, 4).requires_grad_(True).unbind()
    eps.retain_grad()
    fraction.retain_grad()
    bound = variance_bound(x, x_t, eps, fraction, torch.tensor([0, 500]), SCHEDULER.alphas_cumprod)
    bound.sum().backward()
    assert eps.grad is None or not eps.grad.any()
    assert fraction.grad is not None and fraction.grad[1].any()
