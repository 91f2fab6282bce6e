"""The arithmetic of a step before and after the render: as it is, or as CUDA graphs.

It is some sixty small kernels there and back, and on a GPU the host that launches them is what a
step of a small scene waits for.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import ParameterDict

from stabledreamer_core.distillation.loss import l2_loss
from stabledreamer_core.priors.acceleration import graphed_with_gradient
from stabledreamer_core.scene.gaussians import KEYS, Splats, activate
from stabledreamer_core.scene.regularizers import regularization
from stabledreamer_core.settings.stage import Stage

Activate = Callable[[Splats | ParameterDict], Splats]
# (x, x0_hat, weight, gaussians, colors, alphas, depth) -> loss [B], each view's L2 loss [B C]
Losses = Callable[[Tensor, Tensor, Tensor, Splats, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
SHAPED = ("quats", "scales", "opacities", "colors")  # what `activate` changes


def step_parts(stage: Stage, count: int, graphs: bool) -> tuple[Activate, Losses]:
    """Return `activate` and the losses of a step of `count` objects.

    Args:
        graphs: run them as CUDA graphs, whose results the next step overwrites.
    """

    def losses(
        x: Tensor,
        x0_hat: Tensor,
        weight: Tensor,
        gaussians: Splats,
        colors: Tensor,
        alphas: Tensor,
        depth: Tensor,
    ) -> tuple[Tensor, Tensor]:
        per_view = l2_loss(x, x0_hat, weight)
        loss = per_view.reshape(count, -1).sum(1) / (x.numel() // count)
        regular = regularization(stage.regularizers, gaussians, colors, alphas, depth)
        return loss + regular, per_view.detach()

    return _as_graphs(losses) if graphs else (activate, losses)


def _as_graphs(losses: Losses) -> tuple[Activate, Losses]:
    """Give both the form of maps from tensors to tensors, which graphs have."""

    def shape(*values: Tensor) -> tuple[Tensor, ...]:
        made = activate({"means": values[0]} | dict(zip(SHAPED, values, strict=True)))
        return tuple(made[key] for key in SHAPED)

    def lose(*values: Tensor) -> tuple[Tensor, Tensor]:
        gaussians = dict(zip(KEYS, values, strict=False))
        x, x0_hat, weight, *rendered = values[len(KEYS) :]
        return losses(x, x0_hat, weight, gaussians, *rendered)

    shape_graph, lose_graph = graphed_with_gradient(shape), graphed_with_gradient(lose)

    def fast_activate(splats: Splats | ParameterDict) -> Splats:
        values = shape_graph(*(splats[key] for key in SHAPED))
        return {"means": splats["means"]} | dict(zip(SHAPED, values, strict=True))

    def fast_losses(
        x: Tensor, x0_hat: Tensor, weight: Tensor, gaussians: Splats, *rendered: Tensor
    ) -> tuple[Tensor, Tensor]:
        return lose_graph(*(gaussians[key] for key in KEYS), x, x0_hat, weight, *rendered)

    return fast_activate, fast_losses
