"""Weights of views by what their targets show: the setting `view_bias.reweight` of a stage.

RecDreamer (Zheng et al. 2025, arXiv 2502.12640) rectifies a prior p(x) that shows one direction too
often to r(x) p(x), with r(x) = sum_k wanted_k / seen_k p(k | x), p(k | x) a classifier of
directions and `seen` its running mean. There the gradient of log r joins the score; here r is the
weight of a view's loss, so nothing is differentiated.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from stabledreamer_core.distillation.view_prompts import fine_bin
from stabledreamer_core.memory import upload
from stabledreamer_core.priors import Prior
from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.settings.stage import Stage

# Images [N, 3, H, W] in [0, 1] -> probabilities [N, 8] of the arcs about azimuth 0, 45, ...
Classify = Callable[[Tensor], Tensor]
DIRECTIONS = 8
RECENT = 0.05  # the newest targets' share in the running means
MAX_WEIGHT = 4.0  # of a view, where a direction is hardly ever seen


def view_weights(looks: Tensor, seen: Tensor, wanted: Tensor) -> Tensor:
    """Return r [...] for what views look like, looks [..., K].

    Args:
        seen: [..., K] the mean of looks. wanted: [..., K] what the weighted mean shall be; it is
            that for a classifier that is certain, and nearer to it for one that is not.
    """
    return (looks * wanted / seen.clamp(min=1e-6)).sum(-1).clamp(max=MAX_WEIGHT)


@torch.no_grad()
def reweighted(
    stage: Stage,
    prior: Prior,
    classify: Classify,
    x0_hat: Tensor,
    views: Views,
    means: Tensor | None,
    count: int,
) -> tuple[Tensor, Tensor]:
    """Return the running means with these targets, [B, 2, 8], and the views' weights [B C].

    Args:
        x0_hat: [B C, ...] in the prior's space; each is decoded, which of a latent prior costs.
        means: of what targets showed, and of where cameras were; None at the beginning: uniform.
        count: B objects, each with means of its own.
    """
    looks = classify(torch.cat([prior.decode(one[None]) for one in x0_hat]))
    arcs = torch.tensor([fine_bin(azimuth) for azimuth in views.azimuth_deg.tolist()])
    cameras = upload(F.one_hot(arcs, DIRECTIONS), looks.device).to(looks)
    now = torch.stack([looks, cameras], 1).unflatten(0, (count, -1))  # [B, C, 2, 8]
    if means is None:
        means = torch.full_like(now[:, 0], 1.0 / DIRECTIONS)
    means = torch.lerp(means, now.mean(1), RECENT)
    uniform = torch.full_like(means[:, 1], 1.0 / DIRECTIONS)
    wanted = means[:, 1] if stage.view_bias.reweight == "camera" else uniform
    weights = view_weights(now[:, :, 0], means[:, None, 0], wanted[:, None])
    return means, weights.flatten()
