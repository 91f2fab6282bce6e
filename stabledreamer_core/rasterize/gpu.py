"""The CUDA backend: gsplat's own rasterisation, asked for gsplat's dense (not packed) layout."""

from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError
from stabledreamer_core.rasterize.reference import rasterization as empty


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    **settings: Any,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """See `stabledreamer_core.rasterize.rasterization`.

    Raises:
        UserError: gsplat is not installed, the tensors are not on CUDA, or there is no CUDA.
    """
    if not torch.cuda.is_available():
        raise UserError('the rasteriser backend "gsplat" needs an NVIDIA GPU: use device cpu')
    if means.device.type != "cuda":
        raise UserError(f'the rasteriser backend "gsplat" cannot read tensors on {means.device}')
    try:
        import gsplat
    except ImportError as error:
        raise UserError(
            "the rasteriser needs gsplat on a GPU: install stabledreamer[gpu]"
        ) from error
    if means.shape[-2] == 0 and means.dim() == 2:
        # gsplat 1.5.3 divides by the number of Gaussians, which kills the process.
        return empty(
            *(means, quats, scales, opacities, colors, viewmats, Ks, width, height),
            **(settings | {"absgrad": False}),
        )
    return gsplat.rasterization(
        *(means, quats, scales, opacities, colors, viewmats, Ks, width, height),
        packed=False,
        **settings,
    )
