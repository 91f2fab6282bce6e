"""The numba backend against the dense float64 reference: pictures, alphas, depths, gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stabledreamer_core.rasterize import rasterization

MODES = [
    ("RGB+ED", "antialiased"),
    ("RGB+D", "classic"),
    ("RGB", "antialiased"),
    ("RGB", "classic"),
    ("RGB+ED", "classic"),
]
TOLERANCE = 1e-4


def errors(tools, scene, **settings):
    ours = tools.render(rasterization, scene, backend="cpu", **settings)
    truth = tools.render(rasterization, scene, backend="reference", dtype=torch.float64, **settings)
    return tools.distances(ours, truth)


@pytest.mark.parametrize("modes", MODES[:3], ids=" ".join)
def test_agrees(tools, scene, modes):
    found = errors(tools, scene, render_mode=modes[0], rasterize_mode=modes[1])
    assert max(found.values()) < TOLERANCE, found


def test_projection_agrees(tools, scene):
    ours = tools.render(rasterization, scene, backend="cpu").meta
    truth = tools.render(rasterization, scene, backend="reference", dtype=torch.float64).meta
    for name in ("means2d", "conics", "depths", "opacities"):
        assert tools.distance(ours[name], truth[name]) < 1e-6, name
    # A radius is rounded up, so a difference in the last bit may show as one pixel.
    assert ours["radii"].dtype == torch.int32
    different = (ours["radii"] - truth["radii"]).abs()
    assert (different <= 1).all()
    assert torch.equal(ours["radii"] > 0, truth["radii"] > 0)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    count=st.integers(0, 40),
    width=st.integers(1, 35),
    height=st.integers(1, 35),
    n_cameras=st.integers(1, 2),
    seed=st.integers(0, 10**6),
    scale=st.floats(-3, 0),
    spread=st.floats(0.2, 2),  # round ones have no gradient of quats
    radius=st.floats(0.01, 4),
    opacity=st.floats(0, 0.9),
    modes=st.sampled_from(MODES),
)
def test_agrees_on_any_scene(
    tools, count, width, height, n_cameras, seed, scale, spread, radius, opacity, modes
):
    values = tools.gaussians(
        count, seed, (10**scale, 10 ** (scale + spread)), (opacity, opacity + 0.1), radius
    )
    scene = tools.ring("any", values, width, height, n_cameras)
    found = errors(tools, scene, render_mode=modes[0], rasterize_mode=modes[1])
    assert max(found.values()) < TOLERANCE, found


def test_what_is_not_a_number_is_left_out(tools):
    sound = tools.gaussians(40)
    broken = {name: value.repeat(2, *[1] * (value.dim() - 1)) for name, value in sound.items()}
    for k, bad in enumerate([float("nan"), float("inf"), -float("inf")]):
        broken["means"][40 + k, k % 3] = bad
        broken["scales"][43 + k, k % 3] = bad
        broken["quats"][46 + k, k % 3] = bad
        broken["opacities"][49 + k] = bad
    broken["quats"][52] = 0.0
    broken["opacities"][53:] = 0.0
    # An infinite opacity or negative scale is wrong, but not without meaning; infinite ones go.
    broken["scales"][45, 2] = float("inf")
    with_broken = tools.render(rasterization, tools.ring("", broken, 40, 30), backend="cpu")
    without = tools.render(rasterization, tools.ring("", sound, 40, 30), backend="cpu")
    assert torch.equal(with_broken.renders, without.renders)
    for name in ("means", "quats", "scales", "opacities", "colors"):
        assert torch.equal(with_broken.gradients[name][:40], without.gradients[name])
        assert with_broken.gradients[name].isfinite().all()


@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
def test_absgrad_sums_the_absolute_gradients_of_single_pixels(tools, rasterize_mode):
    scene = tools.ring("", tools.gaussians(12, scale=(0.1, 0.5)), 6, 5, 2)
    generator = torch.Generator().manual_seed(2)
    weights = torch.rand(2, 5, 6, 4, generator=generator) - 0.5
    arguments = {
        "viewmats": scene.viewmats,
        "Ks": scene.Ks,
        "width": 6,
        "height": 5,
        "render_mode": "RGB+D",
        "rasterize_mode": rasterize_mode,
    }
    leaves = {name: value.clone().requires_grad_() for name, value in scene.gaussians.items()}
    renders, _, meta = rasterization(**leaves, **arguments, absgrad=True, backend="cpu")
    meta["means2d"].retain_grad()
    (renders * weights).sum().backward()

    doubles = {
        name: value.double().requires_grad_() if value.is_floating_point() else value
        for name, value in scene.gaussians.items()
    }
    arguments["viewmats"], arguments["Ks"] = scene.viewmats.double(), scene.Ks.double()
    renders, _, reference = rasterization(**doubles, **arguments, backend="reference")
    pixels = (renders * weights).sum(-1).flatten()
    each = torch.stack(
        [torch.autograd.grad(pixel, reference["means2d"], retain_graph=True)[0] for pixel in pixels]
    )
    assert tools.distance(meta["means2d"].grad, each.sum(0)) < TOLERANCE
    assert tools.distance(meta["means2d"].absgrad, each.abs().sum(0)) < TOLERANCE
