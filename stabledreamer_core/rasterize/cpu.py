"""The CPU backend: numba kernels as two differentiable operations, projection and compositing.

They are two because `gsplat.strategy.DefaultStrategy` reads the gradient of what passes between
them, the Gaussians' places in the image.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stabledreamer_core.rasterize.cpu_composite import (
    LANES,
    PLANES,
    SUMS,
    composite,
    composite_backward,
)
from stabledreamer_core.rasterize.cpu_lists import (
    BAND_ROWS,
    FEATURES,
    gather_gradients,
    sort_into_bands,
)
from stabledreamer_core.rasterize.cpu_projection import project, project_backward

# One of numba's threading layers aborts the process when two Python threads enter it at once.
_ONE_AT_A_TIME = threading.Lock()
# Ellipses and quarter pixels; under some milliseconds of work, waiting for a second thread on a
# busy machine costs more than it brings.
_SMALL = 2**13


@dataclass(frozen=True)
class _Cameras:
    """What the projection needs besides the Gaussians."""

    viewmats: np.ndarray  # [C, 4, 4] float64
    Ks: np.ndarray  # [C, 3, 3] float64
    size: tuple[int, int]  # width, height
    planes: tuple[float, float]  # near, far
    eps2d: float
    antialiased: bool


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
    *,
    near_plane: float,
    far_plane: float,
    eps2d: float,
    backgrounds: Tensor | None,
    render_mode: str,
    rasterize_mode: str,
    absgrad: bool,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """See `stabledreamer_core.rasterize.rasterization`. Computes and returns float32.

    The same input gives the same bits, whatever the number of threads.
    """
    cameras = _Cameras(
        viewmats.detach().double().contiguous().numpy(),
        Ks.detach().double().contiguous().numpy(),
        (width, height),
        (float(near_plane), float(far_plane)),
        float(eps2d),
        rasterize_mode == "antialiased",
    )
    means2d, covars2d, depths, opacities2d, radii, conics = _Project.apply(
        means.float(), quats.float(), scales.float(), opacities.float(), cameras
    )
    if colors.dim() == 3:
        renders, alphas = _features(
            *(means2d, covars2d, depths, opacities2d, radii, conics),
            *(colors.float(), (width, height)),
        )
    else:
        if backgrounds is None:
            backgrounds = means.new_zeros(len(viewmats), 3)
        renders, alphas = _Composite.apply(
            *(means2d, covars2d, depths, opacities2d, colors.float(), backgrounds.float()),
            *(radii, conics, (width, height), render_mode, absgrad),
        )
    meta = {
        "means2d": means2d,
        "conics": conics,
        "depths": depths,
        "opacities": opacities2d,
        "radii": radii,
        "width": width,
        "height": height,
        "n_cameras": len(viewmats),
        "gaussian_ids": None,
    }
    return renders, alphas, meta


@contextmanager
def _workers(n_ellipses: int, n_pixels: int) -> Iterator[int]:
    """The number of threads to use: numba's, or torch's where that is smaller; 1 for small work."""
    with _ONE_AT_A_TIME:
        allowed = numba.get_num_threads()
        small = n_ellipses + n_pixels / 4 <= _SMALL
        workers = 1 if small else min(allowed, torch.get_num_threads())
        numba.set_num_threads(workers)
        try:
            yield workers
        finally:
            numba.set_num_threads(allowed)


def _features(
    means2d: Tensor,
    covars2d: Tensor,
    depths: Tensor,
    opacities: Tensor,
    radii: Tensor,
    conics: Tensor,
    features: Tensor,
    size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Composite `features` [C, N, D], four channels at a time, without gradients."""
    (n_cameras, n), (width, height) = depths.shape, size
    alphas = depths.new_empty(n_cameras, height, width, 1)
    left = depths.new_empty(n_cameras, height, width)
    black = np.zeros((n_cameras, 3), np.float32)
    ellipses = (means2d, covars2d, conics, depths, opacities, radii, means2d.new_zeros(n, 3))
    renders = []
    with _workers(depths.numel(), alphas.numel()) as workers:
        sorted_ = sort_into_bands([_array(x) for x in ellipses], height)
        for part in features.split(4, -1):
            render = depths.new_empty(n_cameras, height, width, 4)
            sorted_.records[..., FEATURES : FEATURES + part.shape[-1]] = _array(part)
            lists, _ = sorted_.lists()
            pictures = (render.numpy(), alphas.numpy(), left.numpy())
            composite(lists, sorted_.bounds, black, False, _buffers(workers, width), pictures)
            renders.append(render[..., : part.shape[-1]])
    return torch.cat(renders, -1), alphas


def _buffers(workers: int, width: int) -> np.ndarray:
    """Room for a band of pixels for each worker; torch aligns it to cache lines, numpy does not."""
    n_blocks = -(-width // LANES)
    return torch.empty(workers, BAND_ROWS * n_blocks * LANES * PLANES).numpy()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, cameras: _Cameras
    ) -> tuple[Tensor, ...]:
        shape = (len(cameras.viewmats), len(means))
        means2d, covars2d = means.new_zeros(*shape, 2), means.new_zeros(*shape, 3)
        conics, depths = means.new_zeros(*shape, 3), means.new_zeros(shape)
        opacities2d = means.new_zeros(shape)
        radii = means.new_zeros(*shape, 2, dtype=torch.int32)
        outputs = (means2d, covars2d, conics, depths, opacities2d, radii)
        with _workers(depths.numel(), len(cameras.Ks) * math.prod(cameras.size)):
            project(
                *(_array(x.double()) for x in (means, quats, scales, opacities)),
                *(cameras.viewmats, cameras.Ks, cameras.size, cameras.planes),
                *(cameras.eps2d, cameras.antialiased),
                *(x.numpy() for x in outputs),
            )
        ctx.save_for_backward(means, quats, scales, opacities, radii)
        ctx.cameras = cameras
        ctx.mark_non_differentiable(radii, conics)
        return means2d, covars2d, depths, opacities2d, radii, conics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, radii = ctx.saved_tensors
        cameras = ctx.cameras
        v_inputs = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in inputs]
        with _workers(radii.numel() // 2, len(cameras.Ks) * math.prod(cameras.size)):
            project_backward(
                *(_array(x.double()) for x in inputs),
                *(cameras.viewmats, cameras.Ks, cameras.size, cameras.eps2d, cameras.antialiased),
                radii.numpy(),
                *(_array(x) for x in gradients[:4]),
                *(x.numpy() for x in v_inputs),
            )
        return *v_inputs, None


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,
        covars2d: Tensor,
        depths: Tensor,
        opacities: Tensor,
        colors: Tensor,
        backgrounds: Tensor,
        radii: Tensor,
        conics: Tensor,
        size: tuple[int, int],
        render_mode: str,
        absgrad: bool,
    ) -> tuple[Tensor, Tensor]:
        width, height = size
        n_cameras, channels = len(depths), 3 if render_mode == "RGB" else 4
        renders = means2d.new_empty(n_cameras, height, width, channels)
        alphas = means2d.new_empty(n_cameras, height, width, 1)
        transmittances = means2d.new_empty(n_cameras, height, width)
        pictures = (renders, alphas, transmittances)
        ellipses = (means2d, covars2d, conics, depths, opacities, radii, colors)
        with _workers(depths.numel(), alphas.numel()) as workers:
            sorted_ = sort_into_bands([_array(x) for x in ellipses], height)
            lists, places = sorted_.lists()
            composite(
                *(lists, sorted_.bounds, _array(backgrounds), render_mode == "RGB+ED"),
                *(_buffers(workers, width), tuple(x.numpy() for x in pictures)),
            )
        ctx.save_for_backward(means2d, *pictures)
        ctx.lists = (sorted_.records, lists, sorted_.bounds, sorted_.slots, sorted_.bands, places)
        # None instead of False: numba then compiles the kernel without the two extra sums.
        ctx.settings = (render_mode == "RGB+ED", absgrad or None)
        return renders, alphas

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_renders: Tensor, v_alphas: Tensor) -> tuple[Tensor | None, ...]:
        means2d, *pictures = ctx.saved_tensors
        records, lists, bounds, slots, bands, places = ctx.lists
        n_cameras, n = slots.shape
        shares = means2d.new_empty(len(lists), SUMS)
        v_means2d, v_covars2d = torch.empty_like(means2d), means2d.new_empty(n_cameras, n, 3)
        v_depths, v_opacities = means2d.new_empty(n_cameras, n), means2d.new_empty(n_cameras, n)
        v_colors, absolute = means2d.new_empty(n, 3), torch.empty_like(means2d)
        gradients = (v_means2d, v_covars2d, v_depths, v_opacities, v_colors)
        with _workers(slots.size, v_alphas.numel()) as workers:
            composite_backward(
                *(lists, bounds, *ctx.settings, _buffers(workers, pictures[0].shape[2])),
                torch.empty(workers, SUMS * LANES).numpy(),
                tuple(_array(x) for x in pictures),
                (_array(v_renders), _array(v_alphas)),
                shares.numpy(),
            )
            gather_gradients(
                *(records, slots, bands, places, shares.numpy()),
                *(x.numpy() for x in (*gradients, absolute)),
            )
        if ctx.settings[1]:
            means2d.absgrad = absolute
        v_backgrounds = None
        if ctx.needs_input_grad[5]:
            # numpy's sum does not depend on the number of threads.
            v_rgb = _array(v_renders[..., :3])
            total = np.einsum("chwk,chw->ck", v_rgb, pictures[2].numpy(), dtype=np.float64)
            v_backgrounds = torch.from_numpy(total.astype(np.float32))
        return *gradients, v_backgrounds, *(None,) * 5
