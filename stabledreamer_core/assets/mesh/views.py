"""Render depth, opacity and colour of the Gaussians from all around, for meshing."""

import math
from dataclasses import dataclass

import torch
from gsplat.utils import normalized_quat_to_rotmat
from torch import Tensor

from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene.cameras import Views, orbit
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import drawable

PIXELS_AT_ONCE = 8 * 256 * 256
GAUSSIANS_AT_ONCE = 2**18
DISTANCE = 3.2
FOV_DEG = 40.0  # the unit ball fills 91 % of the picture

# How far before its densest point a Gaussian is seen, in standard deviations along the ray. With
# 0, soft assets lose a third to two thirds of their volume (docs/outputs.md has the figures).
NEAR_SIDE = 2.0
FLAT = 0.01  # world units, about a pixel: a Gaussian much thinner than this is a surface itself


@dataclass(frozen=True)
class Survey:
    """C pictures of side R from cameras spread evenly over the sphere."""

    views: Views
    colors: Tensor  # [C, R, R, 3] premultiplied by alpha
    alphas: Tensor  # [C, R, R]
    depths: Tensor  # [C, R, R] expected depth of what is seen, on the camera's axis, world units
    spread: Tensor  # [C, R, R] standard deviation of the depth: large where two layers mix
    facing: Tensor  # [C, R, R] cosine between the surface's normal and the ray, in [0, 1]


@torch.inference_mode()
def render_survey(splats: Splats, count: int, resolution: int, device: torch.device) -> Survey:
    """Render `count` pictures of side `resolution` pixels, some at a time to keep memory low."""
    scene = drawable(splats, device)
    views = sphere(count, resolution).to(device)
    n = len(scene["means"])
    step = max(1, min(PIXELS_AT_ONCE // resolution**2, GAUSSIANS_AT_ONCE // max(1, n)))
    white = whitening(scene)
    shots = [
        _render(scene, white, *cameras, resolution)
        for cameras in zip(views.viewmats.split(step), views.Ks.split(step), strict=True)
    ]
    return Survey(views, *(torch.cat(maps) for maps in zip(*shots, strict=True)))


def _render(
    scene: Splats, white: Tensor, viewmats: Tensor, Ks: Tensor, resolution: int
) -> list[Tensor]:
    """Render the maps of a `Survey` for c of its cameras."""
    features = torch.stack([_features(scene, white, viewmat) for viewmat in viewmats])
    shown, alpha, _ = rasterization(
        scene["means"],
        scene["quats"],
        scene["scales"],
        scene["opacities"],
        features,
        viewmats=viewmats,
        Ks=Ks,
        width=resolution,
        height=resolution,
    )
    rays = pixel_rays(Ks, resolution)
    mean = shown[..., 3:] / alpha.clamp(min=1e-6)
    depth = (mean[..., :2] * rays[..., :2]).sum(-1) + mean[..., 2]
    first, second = mean[..., 3], mean[..., 4]
    spread = (second - first.square()).clamp(min=0.0).sqrt()
    return [shown[..., :3], alpha[..., 0], depth, spread, facing_of(depth, rays)]


def _features(scene: Splats, white: Tensor, viewmat: Tensor) -> Tensor:
    """Stack colour, depth plane and the first two moments of the centre's depth: [N, 8]."""
    centre_depth = scene["means"] @ viewmat[2, :3] + viewmat[2, 3]
    beyond = (centre_depth - DISTANCE)[:, None]  # about 0, so that its square keeps its digits
    planes = depth_planes(scene, white, viewmat)
    return torch.cat([scene["colors"], planes, beyond, beyond.square()], -1)


def whitening(scene: Splats) -> Tensor:
    """Matrices [3, 3, N] that turn each Gaussian into a ball of radius 1: rows, columns, which."""
    axes = normalized_quat_to_rotmat(scene["quats"]).transpose(1, 2)
    return (axes / scene["scales"].clamp(min=1e-4)[..., None]).permute(1, 2, 0).contiguous()


def depth_planes(scene: Splats, white: Tensor, viewmat: Tensor) -> Tensor:
    """Fit the depth at which a ray meets a Gaussian's near side, linear in the ray's direction.

    A flat Gaussian seen at a slant is not all at its centre's depth: with centre depths alone a
    surface comes out up to a standard deviation too near. For the ray (X, Y, 1) the densest point
    is at depth (r.P.m) / (r.P.r), P being the inverse covariance and m the centre; about the
    centre's own ray that is a plane (RaDe-GS, Zhang et al. 2024), and since sums of planes are
    planes, the rasteriser can blend their coefficients as if they were colours.

    A soft body is seen from its near side, so the plane of a thick Gaussian is moved there; that of
    a flat Gaussian stays where it is.

    Args:
        scene: as `gaussians.activate` returns it. white: its `whitening`. viewmat: [4, 4].

    Returns:
        [N, 3] p, q, d of depth = p X + q Y + d.
    """
    centres = (viewmat[:3, :3] @ scene["means"].T).add_(viewmat[:3, 3:])  # [3, N], as all below
    depth = centres[2].clamp(min=1e-3)
    rays = centres / depth
    # Written out: products of thousands of 3x3 matrices took three quarters of the survey on a CPU.
    whitened = torch.stack([_dot(row, viewmat[:3, :3].T @ rays) for row in white])
    pulled = viewmat[:2, :3] @ torch.stack([_dot(row, whitened) for row in white.unbind(1)])
    precision = _dot(whitened, whitened)  # along the ray
    slope = -depth * pulled / precision
    thinnest = scene["scales"].clamp(min=1e-4).amin(-1).square()
    near_side = NEAR_SIDE * precision.rsqrt() * thinnest / (thinnest + FLAT**2)
    return torch.stack([*slope, depth - near_side - _dot(slope, rays[:2])], -1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Sum the products along the first axis, of length 2 or 3."""
    terms = (one[k] * other[k] for k in range(len(one)))
    return sum(terms, start=torch.zeros_like(other[0]))


def sphere(count: int, resolution: int) -> Views:
    """Place cameras on a Fibonacci lattice: equal areas of the sphere, no two in line."""
    index = torch.arange(count, dtype=torch.float64)
    elevation = torch.asin(1.0 - (2.0 * index + 1.0) / count)
    azimuth = index * math.pi * (3.0 - math.sqrt(5.0))
    azimuth_deg, elevation_deg = (torch.rad2deg(angle).float() for angle in (azimuth, elevation))
    return orbit(azimuth_deg % 360.0, elevation_deg, DISTANCE, FOV_DEG, resolution)


def facing_of(depths: Tensor, rays: Tensor) -> Tensor:
    """Compute the cosine between ray and surface normal from the differences of a depth map.

    Args:
        depths: [C, R, R] along the camera's axis.
        rays: [C, R, R, 3] as `pixel_rays` returns them.

    Returns:
        [C, R, R] in [0, 1]; near 0 at steps of depth.
    """
    points = rays * depths[..., None]
    across = _central_difference(points, 2)
    down = _central_difference(points, 1)
    normals = torch.nn.functional.normalize(torch.linalg.cross(across, down), dim=-1)
    directions = torch.nn.functional.normalize(rays, dim=-1)
    return (normals * directions).sum(-1).abs()


def pixel_rays(Ks: Tensor, resolution: int) -> Tensor:
    """Camera-space rays [C, R, R, 3] through the pixels' centres, with z = 1."""
    pixel = torch.arange(resolution, device=Ks.device) + 0.5
    y, x = torch.meshgrid(pixel, pixel, indexing="ij")
    focal, centre = Ks[:, 0, 0, None, None], Ks[:, 0, 2, None, None]
    return torch.stack(
        [(x - centre) / focal, (y - centre) / focal, torch.ones_like(x) + 0 * focal], -1
    )


def _central_difference(points: Tensor, dim: int) -> Tensor:
    before = torch.roll(points, 1, dim)
    after = torch.roll(points, -1, dim)
    return after - before
