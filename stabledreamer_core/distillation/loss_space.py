"""Where a render is compared with its target: in the prior's own space, or as images.

For a pixel prior the two are one. A latent prior's own space is its VAE's latents, and the loss
there is the paper's (loss.py): its gradient is that of SDS, pulled back through the
encoder. In image space the target is the decoded x0_hat instead (HiFA, Zhu and Zhuang 2023, has
such a term beside the latent one). The encoder's gradient, which is blurred and costs as much as
the prior itself on a CPU, then plays no part, and a kept target costs no network at all.
"""

import torch
from torch import Tensor

from stabledreamer_core.priors import Prior
from stabledreamer_core.settings.config import Stage


def to_loss_space(stage: Stage, prior: Prior, images: Tensor) -> Tensor:
    """Bring renders [B, 3, H, W] in [0, 1] to the space of the loss; differentiable.

    Returns:
        The prior's x, or in image space the renders in [-1, 1].
    """
    return prior.encode(images) if stage.target_space == "prior" else 2.0 * images - 1.0


@torch.no_grad()
def to_prior_space(stage: Stage, prior: Prior, images: Tensor, x: Tensor) -> Tensor:
    """Return what the prior denoises, without gradient: x itself if the loss is in its space."""
    return x.detach() if stage.target_space == "prior" else prior.encode(images.detach())


@torch.no_grad()
def target_in_loss_space(
    stage: Stage, prior: Prior, images: Tensor, z: Tensor, x0_hat: Tensor
) -> Tensor:
    """Bring x0_hat, the prior's answer for z, to the space of the loss.

    In image space it is the render plus the difference of the two decoded: an autoencoder blurs,
    and a target decoded alone would pull the render towards its blur at every step.
    """
    if stage.target_space == "prior" or prior.space == "pixel":
        return x0_hat
    return 2.0 * (images.detach() + _decode(prior, x0_hat) - _decode(prior, z)) - 1.0


def _decode(prior: Prior, x: Tensor) -> Tensor:
    """Decode one at a time: a decoder at 512 pixels takes gigabytes an image."""
    return torch.cat([prior.decode(one[None]) for one in x])
