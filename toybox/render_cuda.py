"""Toybox's tracer on CUDA: one block a tile of one image, the toy's parts in shared memory.

Only this file needs numba's CUDA target; import it where it is used.
"""

from typing import Any

import numba.cuda
import numpy as np
import torch
from numba import float32, int32
from torch import Tensor

from toybox.geometry import MAX_PARTS, ROW
from toybox.geometry_parts import SLOTS
from toybox.render_kernels import MATH, ONE, pixel

if not hasattr(np, "row_stack"):  # numpy 2.5 dropped it, numba-cuda 0.30 still asks for it
    np.row_stack = np.vstack

cuda: Any = numba.cuda

TILE = 16
THREADS = TILE * TILE
PALETTE = len(SLOTS)
CAMERA = 13


@cuda.jit(fastmath=MATH)
def _kernel(  # type: ignore[no-untyped-def]
    rows, slots, counts, geometry, palettes, cameras, backgrounds, samples, images, alphas
):
    parts = cuda.shared.array((MAX_PARTS, ROW), float32)
    paints = cuda.shared.array(MAX_PARTS, int32)
    palette = cuda.shared.array((PALETTE, 3), float32)
    camera = cuda.shared.array(CAMERA, float32)

    size = images.shape[2]
    tiles = (size + TILE - 1) // TILE
    n = cuda.blockIdx.x // (tiles * tiles)
    tile = cuda.blockIdx.x % (tiles * tiles)
    g = geometry[n]
    count = counts[g]
    thread = cuda.threadIdx.x
    for k in range(thread, count * ROW, THREADS):
        parts[k // ROW, k % ROW] = rows[g, k // ROW, k % ROW]
    for k in range(thread, count, THREADS):
        paints[k] = slots[g, k]
    for k in range(thread, PALETTE * 3, THREADS):
        palette[k // 3, k % 3] = palettes[n, k // 3, k % 3]
    for k in range(thread, CAMERA, THREADS):
        camera[k] = cameras[n, k]
    cuda.syncthreads()

    # a warp covers 8 x 4 neighbouring pixels, which mostly meet the same parts
    warp, lane = thread // 32, thread % 32
    i = (tile // tiles) * TILE + (warp // 2) * 4 + lane // 8
    j = (tile % tiles) * TILE + (warp % 2) * 8 + lane % 8
    if i >= size or j >= size:
        return
    middle = float32(size) * float32(0.5)
    red, green, blue, covered = pixel(
        parts, paints, count, palette, camera, float32(j) - middle, float32(i) - middle, samples
    )
    rest = ONE - covered
    images[n, 0, i, j] = red + rest * backgrounds[n, 0]
    images[n, 1, i, j] = green + rest * backgrounds[n, 1]
    images[n, 2, i, j] = blue + rest * backgrounds[n, 2]
    alphas[n, 0, i, j] = covered


def render_cuda(
    rows: Tensor,
    slots: Tensor,
    counts: Tensor,
    geometry: Tensor,
    palettes: Tensor,
    cameras: Tensor,
    backgrounds: Tensor,
    samples: int,
    images: Tensor,
    alphas: Tensor,
) -> None:
    """As `render_kernels.fill_images`, on contiguous CUDA tensors and torch's current stream."""
    tensors = (rows, slots, counts, geometry, palettes, cameras, backgrounds)
    count, size = images.shape[0], images.shape[2]
    tiles = -(-size // TILE)
    stream = cuda.external_stream(torch.cuda.current_stream(images.device).cuda_stream)
    with torch.cuda.device(images.device):
        arguments = [cuda.as_cuda_array(tensor, sync=False) for tensor in tensors]
        outputs = [cuda.as_cuda_array(tensor, sync=False) for tensor in (images, alphas)]
        launch(count * tiles * tiles, stream)(*arguments, np.int32(samples), *outputs)


def launch(blocks: int, stream: object = 0) -> Any:
    """The kernel, configured; the tests run it in numba's simulator, which has no streams."""
    return _kernel[blocks, THREADS, stream]
