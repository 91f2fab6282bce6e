"""Compile the CPU's kernels once, at the end of the installation.

numba keeps what it compiles beside the sources, so that the first run begins with its first step:

    python -m stabledreamer.runtime.warm_up
"""

import tempfile
from pathlib import Path

import torch

from stabledreamer_core.assets.mesh.extract import write_mesh
from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene.cameras import around
from stabledreamer_core.scene.gaussians import Splats, activate, init_ball
from stabledreamer_core.settings.output import Mesh

CPU = torch.device("cpu")


def warm_up() -> None:
    """Use every kernel that a run uses, on a small ball: a step of the optimisation, a mesh."""
    ball = init_ball(200, 0.5, 0.1, 0.9, torch.Generator().manual_seed(0))
    _step({name: values.requires_grad_() for name, values in ball.items()})
    small = Mesh(views=8, view_resolution=32, resolution=16, faces=100, texture_resolution=64)
    with tempfile.TemporaryDirectory() as folder:
        write_mesh(ball, small, Path(folder) / "mesh.glb", CPU)


def _step(ball: Splats) -> None:
    gaussians = activate(ball)
    views = around(2, 15.0, 3.2, 40.0, 32)
    renders, alphas, _ = rasterization(
        gaussians["means"],
        gaussians["quats"],
        gaussians["scales"],
        gaussians["opacities"],
        gaussians["colors"],
        views.viewmats,
        views.Ks,
        width=views.resolution,
        height=views.resolution,
        backgrounds=torch.zeros(2, 3),
        render_mode="RGB+ED",
        backend="cpu",
    )
    (renders.sum() + alphas.sum()).backward()


if __name__ == "__main__":
    warm_up()
