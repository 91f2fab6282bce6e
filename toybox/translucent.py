"""Toys of clear jelly: each glows evenly in its own colours and dims what is behind it.

Every part is filled with one density, so a pixel is the integral along its ray (Max 1995, "Optical
models for direct volume rendering", the absorption plus emission model):

    colour = sum_i T_i a_i c_i,  a_i = 1 - exp(-density * occupied_i),  T_i = prod_{j<i} (1 - a_j)

with c_i the paint of the nearest part and occupied_i the length of step i that lies inside. There
is no light and no shading, so the truth is exactly a radiance field, which Gaussians and NeRFs can
both represent: what they make of it is their own doing (benchmarks/claims/translucent.py).

As in render.py, one source is compiled for the CPU and for CUDA.
"""

import numpy as np

from toybox.render import Renders, prepared
from toybox.scenes import Batch
from toybox.translucent_kernels import fill


def render_translucent(
    batch: Batch, resolution: int, density: float, *, samples: int = 2
) -> Renders:
    """Images and alpha of the batch's scenes as jelly, on its device.

    Args:
        density: optical depth of a length of 1: a part .3 thick lets exp(-.3 density) through.
        samples: rays a side of a pixel.
    """
    arguments, renders = prepared(batch, resolution)
    if renders.images.is_cuda:
        from toybox.translucent_cuda import fill_cuda

        fill_cuda(*arguments, density, samples, renders.images, renders.alpha)
    else:
        arrays = (tensor.numpy() for tensor in arguments)
        fill(*arrays, np.float32(density), samples, renders.images.numpy(), renders.alpha.numpy())
    return renders
