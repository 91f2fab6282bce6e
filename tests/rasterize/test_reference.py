"""The reference itself: gradients against finite differences, projection against gsplat's."""

import pytest
import torch
from torch.autograd import gradcheck

from stabledreamer_core.rasterize import rasterization, reference


@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
@pytest.mark.parametrize("render_mode", ["RGB", "RGB+D", "RGB+ED"])
def test_finite_differences(tools, rasterize_mode, render_mode):
    values = tools.gaussians(4, seed=1, scale=(0.1, 0.3), opacity=(0.3, 0.8), radius=0.4)
    scene = tools.ring("", values, 5, 4, 2)
    inputs = [
        *(value.double().requires_grad_() for value in scene.gaussians.values()),
        torch.tensor([[0.1, 0.5, 0.9], [0.8, 0.2, 0.4]]).double().requires_grad_(),
    ]

    def render(*values):
        renders, alphas, _ = rasterization(
            **dict(zip(tools.INPUTS, values, strict=True)),
            viewmats=scene.viewmats.double(),
            Ks=scene.Ks.double(),
            width=5,
            height=4,
            render_mode=render_mode,
            rasterize_mode=rasterize_mode,
            backend="reference",
        )
        return renders, alphas

    assert gradcheck(render, inputs, eps=1e-6, atol=1e-6, rtol=1e-5)


def test_projection_is_gsplats(tools, scene):
    """gsplat's own plain-torch projection, which runs on the CPU."""
    torch_impl = pytest.importorskip("gsplat.cuda._torch_impl")
    values = {name: value.double() for name, value in scene.gaussians.items()}
    planes = {"near_plane": 0.01, "far_plane": 1e10} | scene.settings
    covars, _ = torch_impl._quat_scale_to_covar_preci(
        values["quats"], values["scales"], compute_preci=False
    )
    cameras = scene.viewmats.double(), scene.Ks.double(), scene.width, scene.height
    _, means2d, depths, conics, compensations = torch_impl._fully_fused_projection(
        values["means"], covars, *cameras, calc_compensations=True, **planes
    )
    for camera in range(len(scene.viewmats)):
        ours = reference.project(
            *(values[name] for name in ("means", "quats", "scales", "opacities")),
            scene.viewmats[camera].double(),
            scene.Ks[camera].double(),
            scene.width,
            scene.height,
            eps2d=0.3,
            antialiased=True,
            **planes,
        )
        drawn = ours["radii"].amin(-1) > 0
        opacities = values["opacities"] * compensations[camera]
        for name, theirs in (
            ("means2d", means2d[camera]),
            ("depths", depths[camera]),
            ("conics", conics[camera]),
            ("opacities", opacities),
        ):
            assert tools.distance(ours[name][drawn], theirs[drawn]) < 1e-7, name
        centre = means2d[camera]
        may_be_seen = (
            (depths[camera] >= planes["near_plane"])
            & (depths[camera] <= planes["far_plane"])
            & (opacities >= 1 / 255)
        )
        inside = ((centre > 0) & (centre < torch.tensor([scene.width, scene.height]))).all(-1)
        assert not (drawn & ~may_be_seen).any()
        assert not (may_be_seen & inside & ~drawn).any()
