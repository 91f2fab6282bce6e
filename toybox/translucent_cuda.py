"""Jelly toys on CUDA: a thread a pixel. Import only where there is CUDA (see render_cuda.py)."""

from typing import Any

import numba.cuda
import numpy as np
import torch

from toybox import render_cuda
from toybox.render_kernels import MATH, ONE
from toybox.translucent_kernels import jelly_pixel

THREADS = 128
cuda = render_cuda.cuda


@cuda.jit(fastmath=MATH)
def _kernel(  # type: ignore[no-untyped-def]
    rows, slots, counts, geometry, palettes, cameras, backgrounds, density, samples, images, alphas
):
    size = images.shape[2]
    index = cuda.grid(1)
    n, i, j = index // (size * size), index // size % size, index % size
    if n >= images.shape[0]:
        return
    g = geometry[n]
    middle = numba.float32(size) * numba.float32(0.5)
    red, green, blue, covered = jelly_pixel(
        rows[g],
        slots[g],
        counts[g],
        palettes[n],
        cameras[n],
        numba.float32(j) - middle,
        numba.float32(i) - middle,
        density,
        samples,
    )
    rest = ONE - covered
    images[n, 0, i, j] = red + rest * backgrounds[n, 0]
    images[n, 1, i, j] = green + rest * backgrounds[n, 1]
    images[n, 2, i, j] = blue + rest * backgrounds[n, 2]
    alphas[n, 0, i, j] = covered


def fill_cuda(*arguments: Any) -> None:
    """As translucent.fill, on contiguous CUDA tensors and torch's current stream."""
    *tensors, density, samples, images, alphas = arguments
    stream = cuda.external_stream(torch.cuda.current_stream(images.device).cuda_stream)
    with torch.cuda.device(images.device):
        inputs = [cuda.as_cuda_array(tensor, sync=False) for tensor in tensors]
        outputs = [cuda.as_cuda_array(tensor, sync=False) for tensor in (images, alphas)]
        blocks = -(-images.shape[0] * images.shape[2] ** 2 // THREADS)
        _kernel[blocks, THREADS, stream](*inputs, np.float32(density), np.int32(samples), *outputs)
