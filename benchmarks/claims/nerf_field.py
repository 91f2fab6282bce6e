"""A small NeRF, the baseline that StableDreamer's Gaussians are compared with.

Feature grids of four resolutions, read by `torch.nn.functional.grid_sample`, and a small network
behind them give density and colour (after Mueller et al. 2022, without the hashing, which a scene
of this size does not need); colours do not depend on the direction. Rendering is emission and
absorption along rays through the unit ball (Mildenhall et al. 2020, equation 3).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stabledreamer_core.scene.cameras import Views

RESOLUTIONS = (16, 32, 64, 128)
FEATURES = 4
BLOB_DENSITY, BLOB_RADIUS = 10.0, 0.6  # DreamFusion (Poole et al. 2022), appendix A.2


class RadianceField(nn.Module):
    """Density [P] >= 0, a world unit of path, and colour [P, 3] in [0, 1] at points [P, 3]."""

    def __init__(
        self,
        generator: torch.Generator,
        resolutions: tuple[int, ...] = RESOLUTIONS,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        self.grids = nn.ParameterList(
            nn.Parameter(1e-2 * torch.randn(1, FEATURES, side, side, side, generator=generator))
            for side in resolutions
        )
        width = FEATURES * len(resolutions)
        self.hidden, self.out = nn.Linear(width, hidden), nn.Linear(hidden, 4)
        for layer in (self.hidden, self.out):
            bound = layer.in_features**-0.5
            layer.weight.data.uniform_(-bound, bound, generator=generator)
            layer.bias.data.zero_()

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; outside of the cube of side 2 the grids' border goes on."""
        where = points.flip(-1)[None, :, None, None]  # grid_sample counts the last axis first
        read = [
            F.grid_sample(grid, where, align_corners=True, padding_mode="border")[0, :, :, 0, 0]
            for grid in self.grids
        ]
        raw = self.out(F.relu(self.hidden(torch.cat(read).T)))
        blob = BLOB_DENSITY * (1.0 - points.norm(dim=-1) / BLOB_RADIUS)
        return F.softplus(raw[:, 0] + blob), raw[:, 1:].sigmoid()


def rays(views: Views) -> tuple[Tensor, Tensor]:
    """Origins and unit directions [C H W, 3] through the pixels' centres, in the world frame."""
    size = views.resolution
    pixel = torch.arange(size, device=views.Ks.device) + 0.5
    y, x = torch.meshgrid(pixel, pixel, indexing="ij")
    at = torch.stack([x, y, torch.ones_like(x)], -1).reshape(1, -1, 3)
    rotation, shift = views.viewmats[:, :3, :3], views.viewmats[:, :3, 3]
    inward = at @ torch.linalg.inv(views.Ks).transpose(1, 2) @ rotation
    origin = -(shift[:, None] @ rotation).expand_as(inward)
    return origin.reshape(-1, 3), F.normalize(inward, dim=-1).reshape(-1, 3)


def render(
    field: nn.Module, views: Views, samples: int, jitter: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures on black of what is within the unit ball.

    Args:
        samples: points a ray, one in each of as many equal parts of its way through the ball.
        jitter: moves them within their parts (its device is the views'); None: the middles.

    Returns:
        colours [C, H, W, 3], alphas and expected depths along the ray [C, H, W, 1].
    """
    origin, direction = rays(views)
    nearest = -(origin * direction).sum(-1)
    inside = 1.0 - (origin + nearest[:, None] * direction).square().sum(-1)
    half = inside.clamp(min=0.0).sqrt()
    hit = (half > 0.0).nonzero()[:, 0]
    origin, direction, nearest, half = (v[hit] for v in (origin, direction, nearest, half))

    offset = torch.full((len(hit), samples), 0.5, device=half.device)
    if jitter is not None:
        offset = torch.rand(offset.shape, generator=jitter, device=half.device)
    part = (torch.arange(samples, device=half.device) + offset) / samples
    way = (nearest - half)[:, None] + 2.0 * half[:, None] * part
    points = origin[:, None] + way[..., None] * direction[:, None]
    density, colour = field(points.reshape(-1, 3))

    thickness = density.reshape(way.shape) * (2.0 * half / samples)[:, None]
    before = torch.cumsum(thickness, 1) - thickness
    weight = torch.exp(-before) * (1.0 - torch.exp(-thickness))
    alpha = weight.sum(1, keepdim=True)
    painted = (weight[..., None] * colour.reshape(*way.shape, 3)).sum(1)
    depth = (weight * way).sum(1, keepdim=True) / alpha.clamp(min=1e-6)

    size = views.resolution
    blank = torch.zeros(len(views.viewmats) * size * size, 5, device=half.device)
    pictures = blank.index_copy(0, hit, torch.cat([painted, alpha, depth], 1))
    pictures = pictures.reshape(-1, size, size, 5)
    return pictures[..., :3], pictures[..., 3:4], pictures[..., 4:]
