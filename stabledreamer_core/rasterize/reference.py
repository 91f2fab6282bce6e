"""The rasteriser as its equations read: dense torch, any precision, autograd.

Every Gaussian meets every pixel, so memory grows with N x height x width: for tests and small
scenes. Projection after EWA splatting (Zwicker et al. 2001), compositing after 3DGS (Kerbl et al.
2023), the constants and the order of the tests after gsplat 1.5.3.
"""

from typing import Any

import torch
from gsplat.utils import normalized_quat_to_rotmat
from torch import Tensor

ALPHA_MIN = 1.0 / 255.0  # a contribution below this is left out
ALPHA_MAX = 0.999  # no Gaussian hides all that is behind it
TRANSMITTANCE_MIN = 1e-4  # a Gaussian that would leave no more than this is not drawn any more
EXTENT_MAX = 3.33  # standard deviations; exp(-3.33^2 / 2) is just below 1/255
DEPTH_ALPHA_MIN = 1e-10  # keeps the expected depth finite where nothing was drawn


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
    """See `stabledreamer_core.rasterize.rasterization`.

    Raises:
        NotImplementedError: for absgrad, which autograd cannot give.
    """
    if absgrad:
        raise NotImplementedError("the reference rasteriser has no absgrad")
    projected = [
        project(
            *(means, quats, scales, opacities, viewmat, K, width, height),
            near_plane=near_plane,
            far_plane=far_plane,
            eps2d=eps2d,
            antialiased=rasterize_mode == "antialiased",
        )
        for viewmat, K in zip(viewmats, Ks, strict=True)
    ]
    meta: dict[str, Any] = {
        name: torch.stack([camera[name] for camera in projected]) for name in projected[0]
    }
    if backgrounds is None:
        backgrounds = means.new_zeros(len(viewmats), colors.shape[-1])

    renders, alphas = [], []
    for camera, background in enumerate(backgrounds):
        drawn = meta["radii"][camera].amin(-1) > 0
        depths = meta["depths"][camera][drawn]
        own = colors if colors.dim() == 2 else colors[camera]
        features = torch.cat([own[drawn], depths[:, None]], -1)
        means2d, conics = meta["means2d"][camera][drawn], meta["conics"][camera][drawn]
        alpha = pixel_alphas(means2d, conics, meta["opacities"][camera][drawn], width, height)
        front_to_back = torch.argsort(depths, stable=True)
        weights, transmittance = composite(alpha[front_to_back])
        image = torch.einsum("nhw,nk->hwk", weights, features[front_to_back])
        rgb = image[..., :-1] + transmittance[..., None] * background
        opacity = 1.0 - transmittance[..., None]
        depth = image[..., -1:]
        if render_mode == "RGB+ED":
            depth = depth / opacity.clamp(min=DEPTH_ALPHA_MIN)
        renders.append(rgb if render_mode == "RGB" else torch.cat([rgb, depth], -1))
        alphas.append(opacity)
    meta |= {"width": width, "height": height, "n_cameras": len(viewmats), "gaussian_ids": None}
    return torch.stack(renders), torch.stack(alphas), meta


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    viewmat: Tensor,
    K: Tensor,
    width: int,
    height: int,
    *,
    near_plane: float,
    far_plane: float,
    eps2d: float,
    antialiased: bool,
) -> dict[str, Tensor]:
    """Project the Gaussians to the ellipses that one camera sees.

    Returns:
        means2d [N, 2], conics [N, 3], depths [N], opacities [N] and radii [N, 2] (int32 pixels);
        all are 0 where nothing is drawn.
    """
    everything = torch.cat([means, quats, scales, opacities[:, None]], -1)
    sound = everything.isfinite().all(-1) & (quats != 0).any(-1)
    camera_z = means @ viewmat[2, :3] + viewmat[2, 3]
    index = torch.nonzero(sound & (camera_z >= near_plane) & (camera_z <= far_plane))[:, 0]

    centres = means[index] @ viewmat[:3, :3].T + viewmat[:3, 3]
    x, y, z = centres.unbind(-1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)

    # 1. The projection's Jacobian, at a point kept within 30 % outside the picture.
    margin_x, margin_y = 0.3 * 0.5 * width / fx, 0.3 * 0.5 * height / fy
    slope_x = (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    slope_y = (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    J = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], -1)

    # 2. The covariance in the image, widened by eps2d.
    unit = quats[index] / quats[index].norm(dim=-1, keepdim=True)
    axes = normalized_quat_to_rotmat(unit) * scales[index][:, None]
    half = J.reshape(-1, 2, 3) @ viewmat[:3, :3] @ axes
    a, b, c = ((half[:, row] * half[:, column]).sum(-1) for row, column in ((0, 0), (0, 1), (1, 1)))
    sharp_determinant = a * c - b * b
    a, c = a + eps2d, c + eps2d
    determinant = a * c - b * b

    # 3. What is too faint or out of the picture is dropped.
    opacity = opacities[index]
    if antialiased:
        ratio = (sharp_determinant / determinant).clamp(min=0.0)
        # The square root's slope at 0 is infinite, and a Gaussian this faint is dropped anyway.
        faint = ratio < ALPHA_MIN**4
        opacity = opacity * torch.where(faint, 0.0, torch.where(faint, 1.0, ratio).sqrt())
    with torch.no_grad():
        extent = (2 * (opacity / ALPHA_MIN).clamp(min=1.0).log()).sqrt().clamp(max=EXTENT_MAX)
        radii = torch.ceil(extent[:, None] * torch.stack([a, c], -1).sqrt())
        size = torch.tensor([width, height]).to(means2d)
        drawn = (
            (determinant > 0)
            & (opacity >= ALPHA_MIN)
            & (radii > 0).any(-1)
            & ((means2d + radii > 0) & (means2d - radii < size)).all(-1)
            & means2d.isfinite().all(-1)
            & radii.isfinite().all(-1)
        )

    conics = torch.stack([c, -b, a], -1)[drawn] / determinant[drawn][:, None]
    index = index[drawn]

    def scatter(values: Tensor) -> Tensor:
        return values.new_zeros(len(means), *values.shape[1:]).index_put((index,), values)

    return {
        "means2d": scatter(means2d[drawn]),
        "conics": scatter(conics),
        "depths": scatter(z[drawn]),
        "opacities": scatter(opacity[drawn]),
        "radii": scatter(radii[drawn].clamp(max=2.0**30).int()),
    }


def pixel_alphas(
    means2d: Tensor, conics: Tensor, opacities: Tensor, width: int, height: int
) -> Tensor:
    """Compute alpha = opacity exp(-sigma) at every pixel's centre, [N, height, width].

    Zero where it is below 1/255.
    """
    px = torch.arange(width).to(means2d) + 0.5
    py = torch.arange(height).to(means2d) + 0.5
    dx = (px - means2d[:, :1])[:, None, :]
    dy = (py - means2d[:, 1:])[:, :, None]
    A, B, C = (conics[:, k, None, None] for k in range(3))
    sigma = 0.5 * (A * dx * dx + C * dy * dy) + B * dx * dy
    alpha = (opacities[:, None, None] * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
    return torch.where((sigma >= 0) & (alpha >= ALPHA_MIN), alpha, 0.0)


def composite(alphas: Tensor) -> tuple[Tensor, Tensor]:
    """Composite front to back: weights [N, height, width], transmittance [height, width].

    A pixel is finished by the first Gaussian that would leave at most 1e-4; that one is not drawn.
    """
    with torch.no_grad():
        drawn = torch.cumprod(1.0 - alphas, 0) > TRANSMITTANCE_MIN
    alphas = alphas * drawn
    through = torch.cat([alphas.new_ones(1, *alphas.shape[1:]), torch.cumprod(1.0 - alphas, 0)])
    return alphas * through[:-1], through[-1]
