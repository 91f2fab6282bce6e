"""Where a render is compared with its target: in the prior's own space, or as images.

For a pixel prior the two are one. A latent prior's own space is its VAE's latents, and the loss
there is the paper's (loss.py): its gradient is that of SDS, pulled back through the
encoder. As images there are three targets:

- `decoded`: the decoded x0_hat (HiFA, Zhu and Zhuang 2023, has such a term beside the latent one).
  The encoder's gradient, which is blurred, plays no part. The render becomes as sharp as the
  decoder draws: what an encoder does not see, latents cannot ask for. Keep many (`targets_kept`),
  and no binary opacity: its weight for latents makes objects grow here (docs/results.md).
- `image`: the render plus the difference of decoded x0_hat and decoded x.
- `pulled_back`: the image whose loss has the latent loss's own gradient at this render,
  x - c J^T (z - x0_hat) with J the encoder's Jacobian.

Each costs as much as a step in latents once, and then, while the target is kept, no network at
all; in latents every step pays for the encoder's gradient, on a CPU as much as for the prior.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from stabledreamer_core.priors import Prior
from stabledreamer_core.settings.stage import Stage

DECODED_PIXELS = 2**18  # at once
Pull = Callable[[Tensor], Tensor]  # v like z -> J^T v like the images; once


def to_loss_space(stage: Stage, prior: Prior, images: Tensor) -> Tensor:
    """Bring renders [B, 3, H, W] in [0, 1] to the space of the loss; differentiable.

    Returns:
        The prior's x, or in image space the renders in [-1, 1].
    """
    return prior.encode(images) if stage.target_space == "prior" else 2.0 * images - 1.0


def to_prior_space(
    stage: Stage, prior: Prior, images: Tensor, x: Tensor
) -> tuple[Tensor, Pull | None]:
    """Return what the prior denoises, without gradient, and what pulls back a vector of its space.

    It is x itself if the loss is in the prior's space. Only `pulled_back` needs the latter.
    """
    if stage.target_space == "prior":
        return x.detach(), None
    if stage.target_space != "pulled_back" or prior.space == "pixel":
        with torch.no_grad():
            return prior.encode(images.detach()), None
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        z = prior.encode(leaf)
    return z.detach(), lambda vector: torch.autograd.grad(z, leaf, vector)[0]


@torch.no_grad()
def target_in_loss_space(
    stage: Stage, prior: Prior, images: Tensor, z: Tensor, x0_hat: Tensor, pull: Pull | None = None
) -> Tensor:
    """Bring x0_hat, the prior's answer for z, to the space of the loss.

    `image` is the render plus the difference of the two decoded: an autoencoder that blurs more
    than the render is blurred would pull it towards its blur at every step. Pulled back it
    is the render less the latent loss's gradient, times what makes the two losses' gradients equal:
    each is divided by its own number of elements (step_parts.py), and x is 2 images - 1.
    """
    if stage.target_space == "prior" or prior.space == "pixel":
        return x0_hat
    side = images.shape[-1]
    if stage.target_space == "decoded":
        return 2.0 * _decode(prior, x0_hat, side) - 1.0
    x = 2.0 * images.detach() - 1.0
    if pull is not None:
        return x - 0.5 * images.numel() / z.numel() * pull(z - x0_hat)
    return x + 2.0 * (_decode(prior, x0_hat, side) - _decode(prior, z, side))


def _decode(prior: Prior, x: Tensor, side: int) -> Tensor:
    """Decode [B, ...] in parts: a decoder takes gigabytes for one image of 512 pixels a side."""
    return torch.cat([prior.decode(part) for part in x.split(max(1, DECODED_PIXELS // side**2))])
