"""Differentiable rendering of 3D Gaussians: one function, three backends.

The semantics are gsplat 1.5.3's; docs/rasterizer.md states them and says where ours differ.

- "gsplat": gsplat's CUDA kernels.
- "cpu": our numba kernels, for machines without a GPU.
- "reference": dense plain torch in any precision, the truth that the tests compare with.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError

Backend = Literal["auto", "gsplat", "cpu", "reference"]
RenderMode = Literal["RGB", "RGB+D", "RGB+ED"]
RasterizeMode = Literal["classic", "antialiased"]


def rasterization(
    means: Tensor,  # [(B,) N, 3]
    quats: Tensor,  # [(B,) N, 4]
    scales: Tensor,  # [(B,) N, 3]
    opacities: Tensor,  # [(B,) N]
    colors: Tensor,  # [(B,) N, 3] or [(B,) C, N, D]
    viewmats: Tensor,  # [(B,) C, 4, 4]
    Ks: Tensor,  # [(B,) C, 3, 3]
    width: int,
    height: int,
    *,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    eps2d: float = 0.3,
    backgrounds: Tensor | None = None,  # [(B,) C, 3]
    render_mode: RenderMode = "RGB",
    rasterize_mode: RasterizeMode = "antialiased",
    absgrad: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render N Gaussians seen by C pinhole cameras (3DGS, Kerbl et al. 2023).

    Differentiable with respect to means, quats, scales, opacities, colors and backgrounds;
    not with respect to the cameras. With a leading dimension B, B scenes are rendered, each by its
    own cameras: at once on CUDA, one by one on the CPU.

    Args:
        means: centres in the world frame.
        quats: rotations, wxyz, of any length but zero.
        scales: standard deviations along the Gaussian's own axes, >= 0 (linear, not logarithms).
        opacities: in [0, 1].
        colors: any linear values, usually in [0, 1]; or D features of each Gaussian, one row for
            each camera, drawn on black and on the CPU without gradients.
        viewmats: world-to-camera matrices in OpenCV axes (x right, y down, z forward).
        Ks: intrinsic matrices in pixels; pixel (row i, column j) is sampled at (j + .5, i + .5).
        width, height: size of the images in pixels.
        near_plane, far_plane: Gaussians with their centre's depth outside are not drawn; > 0.
        eps2d: variance in square pixels added to every projected Gaussian.
        backgrounds: colour behind the Gaussians; black when absent. Depth has background 0.
        render_mode: "RGB"; with "+D" also the accumulated depth, with "+ED" the expected one,
            which is the accumulated depth divided by alpha.
        rasterize_mode: "antialiased" dims a Gaussian by what the added variance widened it
            (Mip-Splatting, Yu et al. 2023); "classic" does not.
        absgrad: after the backward pass `meta["means2d"].absgrad` holds the sum of the absolute
            pixel gradients (AbsGS, Ye et al. 2024).
        backend: "auto" takes "gsplat" for tensors on CUDA, "cpu" for tensors on the CPU.

    Returns:
        renders [(B,) C, height, width, 3, 4 or D], alphas [(B,) C, height, width, 1] and a
        dictionary (on the CPU with B: their list under "scenes") with what
        `gsplat.strategy.DefaultStrategy` reads, among them means2d [C, N, 2] (part of the graph:
        `retain_grad` works), radii [C, N, 2], depths [C, N], conics [C, N, 3], opacities [C, N],
        width, height, n_cameras.

    Raises:
        UserError: the backend does not exist, or this machine or the tensors' device lack it.
        ValueError: shapes or values that cannot be rendered.
    """
    _check(means, quats, scales, opacities, colors, viewmats, Ks, width, height, backgrounds)
    if colors.dim() > means.dim() and (backgrounds is not None or render_mode != "RGB"):
        raise ValueError("features for each camera are drawn on black, without depth")
    if render_mode not in ("RGB", "RGB+D", "RGB+ED"):
        raise ValueError(f'render_mode must be "RGB", "RGB+D" or "RGB+ED", not {render_mode!r}')
    if rasterize_mode not in ("classic", "antialiased"):
        raise ValueError(
            f'rasterize_mode must be "classic" or "antialiased", not {rasterize_mode!r}'
        )
    if not 0 < near_plane < far_plane:
        raise ValueError(f"needs 0 < near_plane < far_plane, not {near_plane} and {far_plane}")

    render = _backend(backend, means.device)
    scenes = (means, quats, scales, opacities, colors, viewmats, Ks)
    settings: dict[str, Any] = {
        "near_plane": near_plane,
        "far_plane": far_plane,
        "eps2d": eps2d,
        "render_mode": render_mode,
        "rasterize_mode": rasterize_mode,
        "absgrad": absgrad,
    }
    if means.dim() == 2 or render.__module__.endswith("gpu"):
        return render(*scenes, width, height, backgrounds=backgrounds, **settings)
    behind = [None] * len(means) if backgrounds is None else list(backgrounds)
    rendered = [
        render(*scene, width, height, backgrounds=background, **settings)
        for *scene, background in zip(*scenes, behind, strict=True)
    ]
    renders, alphas, metas = zip(*rendered, strict=True)
    return torch.stack(renders), torch.stack(alphas), {"scenes": list(metas)}


def _backend(name: str, device: torch.device) -> Any:
    """Import and return the backend's function."""
    if name == "auto":
        name = "gsplat" if device.type == "cuda" else "cpu"
    if name == "gsplat":
        from stabledreamer_core.rasterize.gpu import rasterization as on_gpu

        return on_gpu
    if name == "cpu":
        if device.type != "cpu":
            raise UserError(f'the rasteriser backend "cpu" cannot read tensors on {device}')
        from stabledreamer_core.rasterize.cpu import rasterization as on_cpu

        return on_cpu
    if name == "reference":
        from stabledreamer_core.rasterize.reference import rasterization as dense

        return dense
    raise UserError(
        f"unknown rasteriser backend {name!r}: use auto, gsplat (CUDA), cpu or reference"
    )


def _check(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    backgrounds: Tensor | None,
) -> None:
    if means.dim() not in (2, 3) or viewmats.dim() not in (3, 4):
        raise ValueError(f"means {tuple(means.shape)} or viewmats {tuple(viewmats.shape)}: shape?")
    lead, n, c = means.shape[:-2], means.shape[-2], viewmats.shape[-3]
    expected = {
        "means": (means, (*lead, n, 3)),
        "quats": (quats, (*lead, n, 4)),
        "scales": (scales, (*lead, n, 3)),
        "opacities": (opacities, (*lead, n)),
        "colors": (colors, (*lead, n, 3)),
        "viewmats": (viewmats, (*lead, c, 4, 4)),
        "Ks": (Ks, (*lead, c, 3, 3)),
    }
    if colors.dim() > means.dim():
        expected["colors"] = (colors, (*lead, c, n, colors.shape[-1]))
    if backgrounds is not None:
        expected["backgrounds"] = (backgrounds, (*lead, c, 3))
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}, not {tuple(tensor.shape)}")
        if tensor.device != means.device:
            raise ValueError(f"{name} is on {tensor.device}, means on {means.device}")
    if c < 1 or width < 1 or height < 1:
        raise ValueError(f"nothing to render: {c} cameras, {width} x {height} pixels")
