"""Score distillation as a supervised loss (StableDreamer, section 4.1; docs/method.md).

With x the render (or its latent), eps the noise and (alpha, sigma) the prior's schedule at t
(priors/schedule.py: sqrt(abar) and sqrt(1 - abar) of a DDPM, 1 - t and t of a rectified flow):

    x_t     = alpha x + sigma eps
    eps_hat = eps(x_t, t, "") + s (eps(x_t, t, y) - eps(x_t, t, ""))
    x0_hat  = (x_t - sigma eps_hat) / alpha

the SDS gradient w(t) (eps_hat - eps) is the gradient of

    1/2 w(t) alpha / sigma || x - stopgrad(x0_hat) ||^2

so the loss needs no custom gradient, and its target is an image one can look at.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from stabledreamer_core.distillation.perp_neg import WrongViews, perp_neg
from stabledreamer_core.priors.schedule import Schedule

WEIGHTINGS = ("sds", "uniform", "x0")
X0_LIMITS = ("none", "clamp", "dynamic")

# (x_t [B, ...], timesteps [B], embeddings [B, L, D]) -> eps like x_t
PredictEps = Callable[[Tensor, Tensor, Tensor], Tensor]


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Reshape values [B] to broadcast over `like` [B, ...]."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))


def add_noise(x: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Noise x to x_t (forward process). x, noise: [B, ...]; alpha, sigma: [B] (`Schedule.at`)."""
    return per_sample(alpha, x) * x + per_sample(sigma, x) * noise


def one_step_denoised(x_t: Tensor, eps_hat: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Compute x0_hat, the clean image [B, ...] that the prior predicts in one step."""
    return (x_t - per_sample(sigma, x_t) * eps_hat) / per_sample(alpha, x_t)


def guidance_scales(levels: Tensor, scale: float, interval: tuple[float, float]) -> Tensor | float:
    """Return each sample's guidance scale [B]: `scale` within the interval of noise levels, else 1.

    Guidance matters at middle noise levels and costs a second call of the prior at all of them
    (Kynkaanniemi et al. 2024, "Applying guidance in a limited interval").

    Args:
        levels: [B] noise levels as fractions (`Schedule.fractions`).
        interval: of noise levels, both ends within; of all of them, one number is returned.
    """
    if interval == (0.0, 1.0):
        return scale
    within = (levels >= interval[0]) & (levels <= interval[1])
    return torch.where(within, scale, 1.0)


def guided_eps(
    predict_eps: PredictEps,
    x_t: Tensor,
    timesteps: Tensor,
    cond: Tensor,
    uncond: Tensor,
    guidance_scale: float | Tensor,
    guidance_rescale: float = 0.0,
    wrong: WrongViews | None = None,
) -> Tensor:
    """Apply classifier-free guidance (Ho & Salimans 2022): uncond + s (cond - uncond).

    Args:
        x_t: [B, ...]; timesteps: [B]; cond, uncond: [B, L, D] text embeddings.
        guidance_scale: s, one or [B]; samples with 1 ask for the conditional prediction alone
            (one call, not two). To find those of a tensor, a GPU's host must wait.
        guidance_rescale: phi in [0, 1] of Lin et al. 2023 (equations 15 and 16): how far the
            standard deviation is brought back to the conditional prediction's.
        wrong: words of other views that guidance leads away from too (perp_neg.py).
    """
    if isinstance(guidance_scale, Tensor):
        scales = guidance_scale
        rows = (scales != 1.0).nonzero()[:, 0]
    else:
        scales = torch.full((len(x_t),), guidance_scale, device=x_t.device)
        rows = torch.arange(0 if guidance_scale == 1.0 else len(x_t), device=x_t.device)
    both = predict_eps(
        torch.cat([x_t[rows], x_t]),
        torch.cat([timesteps[rows], timesteps]),
        torch.cat([uncond.expand_as(cond)[rows], cond]),
    )
    eps_uncond, eps_cond = both.split([len(rows), len(x_t)])
    towards = eps_cond[rows]
    if wrong is not None:
        now = (x_t[rows], timesteps[rows])
        towards = perp_neg(predict_eps, *now, eps_uncond, towards, wrong.of(rows))
    guided = eps_uncond + per_sample(scales[rows], x_t) * (towards - eps_uncond)
    if guidance_rescale > 0.0:
        axes = tuple(range(1, x_t.ndim))
        ratio = eps_cond[rows].std(axes, keepdim=True) / guided.std(axes, keepdim=True)
        guided = torch.lerp(guided, guided * ratio, guidance_rescale)
    return eps_cond.index_copy(0, rows, guided)


def limit_x0(
    x0_hat: Tensor, limit: str, quantile: float = 0.95, largest_bound: float = 1.5
) -> Tensor:
    """Keep a pixel-space x0_hat [B, C, H, W] near [-1, 1].

    clamp cuts; dynamic cuts at the given quantile of its magnitude, at least 1 and at most
    `largest_bound`, and divides by that (dynamic thresholding, Imagen, Saharia et al. 2022, section
    2.3), with the quantile and the bound that DeepFloyd IF samples with.
    """
    if limit == "none":
        return x0_hat
    if limit == "clamp":
        return x0_hat.clamp(-1.0, 1.0)
    bound = torch.quantile(x0_hat.flatten(1).abs().float(), quantile, dim=1)
    bound = bound.clamp(1.0, largest_bound)
    bound = per_sample(bound, x0_hat)
    return x0_hat.clamp(-bound, bound) / bound


def l2_weight(weighting: str, schedule: Schedule, timesteps: Tensor) -> Tensor:
    """Return the weight of the L2 form, w(t) alpha / sigma, at timesteps [B].

    sds: w = sigma^2 (DreamFusion: 1 - abar). uniform: w = 1. x0: the product itself is 1, so every
    noise level pulls equally hard towards its denoised image.
    """
    alpha, sigma = schedule.at(timesteps)
    if weighting == "x0":
        return torch.ones_like(alpha)
    w = {"sds": schedule.variances[timesteps], "uniform": torch.ones_like(alpha)}[weighting]
    return w * alpha / sigma


def l2_loss(x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Compute 1/2 weight || x - stopgrad(target) ||^2 [B], summed over each sample's elements.

    With target = x0_hat and weight = l2_weight(...), its gradient with respect to x is the SDS
    gradient w(t) (eps_hat - eps).
    """
    return 0.5 * weight * (x - target.detach()).square().flatten(1).sum(1)
