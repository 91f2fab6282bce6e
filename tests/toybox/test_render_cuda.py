"""The CUDA kernel gives the CPU's images: in numba's simulator, and on a GPU if there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toybox.render import render_with_alpha
from toybox.scenes import Sampler

SIMULATION = """
import numpy as np, torch
from toybox.render import pack_cameras, render_with_alpha
from toybox.render_cuda import launch
from toybox.scenes import Sampler

size, count = 18, 2  # two tiles a side, the second one nearly empty
batch = Sampler("cpu", variations=1).sample(count, torch.Generator().manual_seed(0))
want = render_with_alpha(batch, size, samples=1)
tensors = (batch.rows, batch.slots, batch.counts, batch.geometry, batch.palettes,
           pack_cameras(batch.views(size)), batch.background)
images = np.full((count, 3, size, size), np.nan, np.float32)
alphas = np.full((count, 1, size, size), np.nan, np.float32)
launch(count * 4)(*(tensor.numpy() for tensor in tensors), 1, images, alphas)
assert want.alpha.sum() > 20
np.testing.assert_allclose(images, want.images.numpy(), atol=1e-5)
np.testing.assert_allclose(alphas, want.alpha.numpy(), atol=1e-5)
"""


def test_the_kernel_in_the_simulator_gives_the_cpus_images() -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", SIMULATION], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_cpus_images() -> None:
    batch = Sampler("cpu", variations=4).sample(64, torch.Generator().manual_seed(0))
    moved = type(batch)(*(getattr(batch, name).cuda() for name in batch.__dataclass_fields__))
    want, got = (render_with_alpha(scenes, 64) for scenes in (batch, moved))
    gap = (got.images.cpu() - want.images).abs().amax(1)
    assert float((gap > 0.02).float().mean()) < 1e-3  # rays that graze an edge
    assert float(gap.mean()) < 1e-3
