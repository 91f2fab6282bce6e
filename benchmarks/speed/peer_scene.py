"""What the peers' loops (peer_loops.py) share: Gaussians, guidance, cameras and losses.

Files and lines in comments are of the sources named there.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stabledreamer_core.assets.splats.ply import SH_C0
from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene.cameras import orbit
from stabledreamer_core.scene.gaussians import Splats

GUIDANCE = 100.0


@dataclass(frozen=True)
class Guide:
    """Stable Diffusion as the three hold it: half precision, eager, as diffusers lays it out."""

    unet: Any
    vae: Any
    scheduler: Any  # a DDIMScheduler
    prompts: Tensor  # [4, L, D]: side, front, back, overhead
    empty: Tensor  # [1, L, D]
    size: int  # side of its images
    steps: int = 1000

    @property
    def dtype(self) -> torch.dtype:
        """What its networks run in."""
        dtype: torch.dtype = self.unet.dtype
        return dtype

    def alphas(self, device: torch.device) -> Tensor:
        """Return alphas_cumprod [T]."""
        alphas: Tensor = self.scheduler.alphas_cumprod.to(device)
        return alphas

    def encode(self, images: Tensor) -> Tensor:
        """Sample the VAE's posterior of images [B, 3, H, W] in [0, 1]."""
        pixels = (images * 2.0 - 1.0).to(self.dtype)
        latents: Tensor = self.vae.encode(pixels).latent_dist.sample()
        return latents * self.vae.config.scaling_factor


class Scene:
    """The Gaussians as 3DGS holds them, and one Adam with a group for each kind of number."""

    def __init__(self, splats: Splats, device: torch.device):
        copies = {key: value.detach().to(device, copy=True) for key, value in splats.items()}
        self.params = {key: value.requires_grad_() for key, value in copies.items()}
        rates = {"means": 1e-3, "quats": 5e-3, "scales": 5e-3, "opacities": 5e-2, "colors": 1e-2}
        groups = [{"params": [self.params[key]], "lr": rates[key], "name": key} for key in rates]
        self.optimizer = torch.optim.Adam(groups, lr=0.0, eps=1e-15)
        count = len(splats["means"])
        self.max_radii = torch.zeros(count, device=device)
        self.gradients, self.seen = (torch.zeros(count, 1, device=device) for _ in range(2))

    def set_rate(self, step: int) -> None:
        """Set the means' learning rate, as every step of the three does."""
        for group in self.optimizer.param_groups:
            if group["name"] == "means":
                group["lr"] = 1e-3 * math.exp(-step / 1000)

    def render(
        self, viewmat: Tensor, K: Tensor, background: Tensor, size: int, mode: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        """Render one view: [H, W, 3 or 4], and what density control reads."""
        params = self.params
        renders, _, info = rasterization(
            params["means"],
            F.normalize(params["quats"], dim=-1),
            params["scales"].exp(),
            params["opacities"].sigmoid(),
            (SH_C0 * params["colors"] + 0.5).clamp_min(0.0),
            viewmat[None],
            K[None],
            size,
            size,
            backgrounds=background[None],
            render_mode=mode,
            rasterize_mode="classic",
        )
        info["means2d"].retain_grad()
        return renders[0], info

    @torch.no_grad()
    def note(self, gradient: Tensor, radii: Tensor) -> None:
        """Gather what density control would decide by (add_densification_stats)."""
        visible = radii > 0
        self.gradients[visible] += gradient[visible, :2].norm(dim=-1, keepdim=True)
        self.seen[visible] += 1


def radii_of(info: dict[str, Any]) -> Tensor:
    """Return each Gaussian's radius on the screen [N]."""
    radii: Tensor = info["radii"][0]
    return radii.amax(-1).float()


def directions(elevation: Tensor, azimuth: Tensor) -> Tensor:
    """Choose each view's prompt: 0 side, 1 front, 2 back, 3 overhead.

    prompt_processors/base.py:62-72, 263-292.
    """
    chosen = torch.zeros_like(elevation, dtype=torch.long)
    shifted = (azimuth + 180) % 360 - 180
    chosen[torch.ones_like(elevation, dtype=torch.bool)] = 0
    chosen[(shifted > -45) & (shifted < 45)] = 1
    chosen[(shifted > 135) | (shifted < -135)] = 2
    chosen[elevation > 60] = 3
    return chosen


def sds_gradient(
    guide: Guide, latents: Tensor, t: Tensor, prompts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return w (eps_hat - eps), eps_hat and x_t, with guidance as threestudio writes it.

    stable_diffusion_guidance.py:236-272 (GaussianDreamer's :234-265).
    """
    with torch.no_grad():
        noise = torch.randn_like(latents)
        noisy = guide.scheduler.add_noise(latents, noise, t)
        twice = torch.cat([noisy] * 2, dim=0)
        predicted = guide.unet(  # forward_unet, :147-158
            twice.to(guide.dtype),
            torch.cat([t] * 2).to(guide.dtype),
            encoder_hidden_states=prompts.to(guide.dtype),
        ).sample.to(twice.dtype)
    text, none = predicted.chunk(2)
    predicted = text + GUIDANCE * (text - none)
    weight = (1 - guide.alphas(latents.device)[t]).view(-1, 1, 1, 1)
    return weight * (predicted - noise), predicted, noisy


def cameras(views: int, size: int) -> tuple[Tensor, ...]:
    """Random cameras on the host: degrees [C], c2w, viewmats and Ks."""
    azimuth, elevation = torch.rand(views) * 360 - 180, torch.rand(views) * 110 - 20
    placed = orbit(azimuth, elevation.clamp(-85, 85), 2.5, 65.0, size)
    return azimuth, elevation, torch.inverse(placed.viewmats), placed.viewmats, placed.Ks


def pixel_directions(size: int) -> Tensor:
    """Every pixel's direction before the camera [H, W, 3] (ops.py:180-217)."""
    places = torch.arange(size, dtype=torch.float32) + 0.5 - size / 2
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([columns, -rows, -torch.ones_like(rows)], -1)


def decode(guide: Guide, latents: Tensor) -> Tensor:
    """stable_diffusion_guidance.py:171-184."""
    side = latents.shape[-1]
    latents = F.interpolate(latents, (side, side), mode="bilinear", align_corners=False)
    latents = (latents / guide.vae.config.scaling_factor).to(guide.dtype)
    decoded: Tensor = guide.vae.decode(latents).sample
    return (decoded * 0.5 + 0.5).clamp(0, 1)


def total_variation(images: Tensor) -> Tensor:
    """threestudio/utils/loss.py: squared differences of neighbours in images [B, 3, H, W]."""
    down, right = images.diff(dim=2), images.diff(dim=3)
    return 2 * (down.square().mean() + right.square().mean())


def screen_gradient(info: dict[str, Any]) -> Tensor:
    """Return the gradient by the means on the screen [N, 2]."""
    gradient: Tensor = info["means2d"].grad
    return gradient[0]
