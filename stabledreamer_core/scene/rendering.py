"""Pictures of finished Gaussians: no gradients, a few cameras at a time to keep memory low."""

from collections.abc import Iterator

import torch
from torch import Tensor

from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.scene.gaussians import Splats, activate, finite

PIXELS_AT_ONCE = 8 * 512 * 512


@torch.inference_mode()
def render_chunks(
    splats: Splats,
    views: Views,
    background: tuple[float, float, float],
    device: torch.device,
    depth: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Render every camera of `views`, in order.

    Args:
        splats: as optimised (log scales, logit opacities); Gaussians that are not finite are left
            out.
        background: red, green, blue in [0, 1].
        depth: append the expected depth (world units along the camera's axis) as a fourth channel.

    Yields:
        renders [c, H, W, 3 or 4] and alphas [c, H, W, 1], on `device`.
    """
    scene = drawable(splats, device)
    views = views.to(device)
    size = views.resolution
    step = max(1, PIXELS_AT_ONCE // (size * size))
    for start in range(0, len(views.viewmats), step):
        viewmats = views.viewmats[start : start + step]
        renders, alphas, _ = rasterization(
            scene["means"],
            scene["quats"],
            scene["scales"],
            scene["opacities"],
            scene["colors"],
            viewmats=viewmats,
            Ks=views.Ks[start : start + step],
            width=size,
            height=size,
            backgrounds=torch.tensor(background, device=device).expand(len(viewmats), 3),
            render_mode="RGB+ED" if depth else "RGB",
        )
        yield renders, alphas


def drawable(splats: Splats, device: torch.device) -> Splats:
    """Activate the Gaussians whose numbers are all finite, on `device` and without gradient."""
    usable = finite(splats)
    return {key: value.detach().to(device) for key, value in activate(usable).items()}


def to_bytes(renders: Tensor) -> Tensor:
    """Convert colours in [0, 1] to 8-bit display values: value * 255, rounded, with no gamma."""
    return (renders.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
