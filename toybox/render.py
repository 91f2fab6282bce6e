"""Images of scenes: one numba source, compiled for the CPU and for CUDA."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stabledreamer_core.assets.mesh.light import Light
from stabledreamer_core.scene.cameras import Views
from toybox.scenes import Batch

Scenes = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Renders:
    """Images [n, 3, R, R] in [0, 1] on their backgrounds, and alpha [n, 1, R, R]."""

    images: Tensor
    alpha: Tensor


def light() -> Light:
    """The light in every picture; `render_kernels.shade` computes it."""
    from toybox.render_kernels import AMBIENT, DIFFUSE, LIGHT_X, LIGHT_Y, LIGHT_Z

    x, y, z, low, high = (
        round(float(value), 6) for value in (LIGHT_X, LIGHT_Y, LIGHT_Z, AMBIENT, AMBIENT + DIFFUSE)
    )
    return Light((x, y, z), low, high)


def render(batch: Batch, resolution: int, *, samples: int = 2) -> Tensor:
    """Images [n, 3, R, R] float32 in [0, 1] of the batch's scenes, on its device.

    Args:
        samples: rays a side of a pixel: 2 means 4 rays a pixel, box-averaged.
    """
    return render_with_alpha(batch, resolution, samples=samples).images


def render_with_alpha(batch: Batch, resolution: int, *, samples: int = 2) -> Renders:
    """As `render`, with the coverage of each pixel."""
    arguments, renders = prepared(batch, resolution)
    if renders.images.is_cuda:
        from toybox.render_cuda import render_cuda

        render_cuda(*arguments, samples, renders.images, renders.alpha)
    else:
        from toybox.render_kernels import fill_images

        arrays = (tensor.numpy() for tensor in arguments)
        fill_images(*arrays, samples, renders.images.numpy(), renders.alpha.numpy())
    return renders


def prepared(batch: Batch, resolution: int) -> tuple[Scenes, Renders]:
    """What the tracers read of a batch (see render_kernels.fill_images), and what they fill."""
    device, count = batch.azimuth_deg.device, len(batch)
    arguments = (
        batch.rows,
        batch.slots,
        batch.counts,
        batch.geometry,
        batch.palettes.contiguous(),
        pack_cameras(batch.views(resolution)),
        batch.background.contiguous(),
    )
    images = torch.empty(count, 3, resolution, resolution, device=device)
    alpha = torch.empty(count, 1, resolution, resolution, device=device)
    return arguments, Renders(images, alpha)


def pack_cameras(views: Views) -> Tensor:
    """Cameras as the tracer reads them: [n, 13] rotation, position, focal length in pixels.

    The principal point is the image's middle, as `stabledreamer_core.scene.cameras.orbit` sets it.
    """
    rotation, translation = views.viewmats[:, :3, :3], views.viewmats[:, :3, 3]
    position = -(rotation.transpose(1, 2) @ translation[..., None])[..., 0]
    parts = [rotation.flatten(1), position, views.Ks[:, :1, 0]]
    return torch.cat(parts, dim=1).float().contiguous()
