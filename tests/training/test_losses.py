"""The losses against closed forms and independent implementations."""

import math

import torch
from diffusers import DDPMScheduler
from torch.distributions import Normal, kl_divergence

from toybox.training.losses import (
    LEAST_S,
    add_flow_noise,
    add_noise,
    discretised_log_likelihood,
    min_snr_weight,
    normal_kl,
    stratified_levels,
    stratified_timesteps,
    variance_bound,
    velocity_weight,
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


def test_noise_levels_of_a_flow_are_logit_normal() -> None:
    s = stratified_levels(1000, 0.3, 1.5, torch.Generator().manual_seed(0)).double()
    assert torch.all((s > 0.0) & (s < 1.0))
    at = torch.arange(1, 1000, dtype=torch.float64) / 1000
    edges = torch.sigmoid(0.3 + 1.5 * Normal(0.0, 1.0).icdf(at))
    assert torch.equal(torch.bucketize(s, edges), torch.arange(1000))  # one in each quantile


def test_the_flow_loss_is_the_velocitys_error() -> None:
    """d x_t / d s by automatic differentiation, against what PRXPixelPipeline makes of x0."""
    x, noise, x0_hat = images(3, 6, 3, 4, 4)
    s = torch.tensor([0.02, 0.05, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    x_t, velocity = torch.func.jvp(
        lambda level: add_flow_noise(x, noise, level, 2.0), (s,), (torch.ones_like(s),)
    )
    at = s.reshape(-1, 1, 1, 1)
    asked = (x_t - x0_hat) / at.clamp(min=LEAST_S)
    true = torch.where(at >= LEAST_S, velocity, (x_t - x) / LEAST_S)
    ours = weighted_mse(x0_hat, x, velocity_weight(s))
    torch.testing.assert_close(ours, (asked - true).square().mean())


def test_the_flow_loss_is_least_at_the_posterior_mean() -> None:
    """Of normal x, mean .3 and deviation .5: E[x | x_t] is linear in x_t, with these factors."""
    mean, std, scale, count = 0.3, 0.5, 2.0, 100_000
    x, noise = images(2, count, 1, 1, 1)
    x = mean + std * x
    for level in (0.1, 0.5, 0.9):
        s = torch.full((count,), level, dtype=torch.float64)
        x_t = add_flow_noise(x, noise, s, scale)
        signal, noise_std = (1.0 - level) * std, level * scale
        slope = signal * std / (signal**2 + noise_std**2)
        best = torch.tensor([mean - slope * (1.0 - level) * mean, slope], dtype=torch.float64)

        def loss(line: torch.Tensor) -> torch.Tensor:
            return weighted_mse(line[0] + line[1] * x_t, x, velocity_weight(s))  # noqa: B023

        gradient, curvature = torch.func.grad(loss)(best), torch.func.hessian(loss)(best)
        found = best - torch.linalg.solve(curvature, gradient)  # the loss is quadratic
        torch.testing.assert_close(found, best, rtol=0.02, atol=0.005)


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
