"""What callers rely on: the choice of backend, clear refusals, determinism, gsplat's strategy."""

from concurrent.futures import ThreadPoolExecutor

import numba
import pytest
import torch

from stabledreamer_core.errors import UserError
from stabledreamer_core.rasterize import rasterization


@pytest.fixture
def small(tools):
    return tools.ring("", tools.gaussians(30), 20, 16)


def call(scene, **changes):
    arguments = {
        **scene.gaussians,
        "viewmats": scene.viewmats,
        "Ks": scene.Ks,
        "width": scene.width,
        "height": scene.height,
    }
    return rasterization(**(arguments | changes))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(("render_mode", "channels"), [("RGB", 3), ("RGB+D", 4), ("RGB+ED", 4)])
def test_shapes(small, backend, render_mode, channels):
    renders, alphas, meta = call(small, render_mode=render_mode, backend=backend)
    assert renders.shape == (2, 16, 20, channels)
    assert alphas.shape == (2, 16, 20, 1)
    assert meta["means2d"].shape == meta["radii"].shape == (2, 30, 2)
    assert (meta["width"], meta["height"], meta["n_cameras"]) == (20, 16, 2)
    assert "gaussian_ids" in meta


def test_auto_on_the_cpu_is_the_cpu_backend(small):
    for ours, auto in zip(call(small, backend="cpu")[:2], call(small)[:2], strict=True):
        assert torch.equal(ours, auto)


def test_no_background_is_black(small):
    black = call(small, backgrounds=torch.zeros(2, 3))[0]
    assert torch.equal(call(small)[0], black)


def test_double_precision_is_accepted(small):
    means = small.gaussians["means"].double().requires_grad_()
    call(small, means=means)[0].sum().backward()
    assert means.grad.dtype == torch.float64


def test_unknown_backend(small):
    with pytest.raises(UserError, match="opengl"):
        call(small, backend="opengl")


def test_gsplat_without_cuda(small):
    with pytest.raises(UserError, match=r"GPU|cannot read tensors on cpu"):
        call(small, backend="gsplat")


@pytest.mark.parametrize(
    "changes",
    [
        {"means": torch.zeros(29, 3)},
        {"colors": torch.zeros(30, 4)},
        {"viewmats": torch.zeros(2, 3, 4)},
        {"Ks": torch.zeros(1, 3, 3)},
        {"backgrounds": torch.zeros(3)},
        {"width": 0},
        {"render_mode": "ED"},
        {"rasterize_mode": "smooth"},
        {"near_plane": 0.0},
        {"near_plane": 2.0, "far_plane": 1.0},
    ],
    ids=str,
)
def test_what_cannot_be_rendered_is_refused(small, changes):
    with pytest.raises(ValueError):
        call(small, **changes)


def everything(result):
    return [result.renders, result.alphas, *result.gradients.values()]


def test_the_same_bits_with_any_number_of_threads(tools):
    scene = tools.ring("", tools.gaussians(2000, scale=(0.01, 0.2)), 90, 70, 3)
    before = numba.get_num_threads()
    results = []
    try:
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS), 1, before):
            numba.set_num_threads(threads)
            results.append(everything(tools.render(rasterization, scene, render_mode="RGB+ED")))
    finally:
        numba.set_num_threads(before)
    for result in results[1:]:
        for first, other in zip(results[0], result, strict=True):
            assert torch.equal(first, other)


def test_two_python_threads_at_once(tools):
    scenes = [tools.ring("", tools.gaussians(200, seed=seed), 40, 30) for seed in (1, 2)] * 6
    alone = [tools.render(rasterization, scene) for scene in scenes[:2]] * 6
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda scene: tools.render(rasterization, scene), scenes))
    for one, other in zip(alone, together, strict=True):
        for first, second in zip(everything(one), everything(other), strict=True):
            assert torch.equal(first, second)


@pytest.mark.parametrize("absgrad", [False, True])
def test_gsplats_strategy_grows_gaussians_where_the_picture_lacks_them(tools, absgrad):
    strategy_module = pytest.importorskip("gsplat.strategy")
    target_scene = tools.ring("", tools.gaussians(200, seed=8, scale=(0.03, 0.1)), 32, 32)
    target = call(target_scene)[0]

    start = tools.gaussians(20, seed=9, scale=(0.1, 0.2), opacity=(0.5, 0.5), radius=0.5)
    params = torch.nn.ParameterDict(
        {
            "means": start["means"],
            "quats": start["quats"],
            "scales": start["scales"].log(),
            "opacities": torch.logit(start["opacities"]),
            "colors": torch.logit(start["colors"].clamp(0.01, 0.99)),
        }
    )
    rates = {"means": 5e-3, "quats": 5e-3, "scales": 1e-2, "opacities": 2e-2, "colors": 2e-2}
    optimizers = {
        name: torch.optim.Adam([{"params": params[name], "lr": rate}])
        for name, rate in rates.items()
    }
    strategy = strategy_module.DefaultStrategy(
        refine_start_iter=5,
        refine_every=10,
        grow_grad2d=2e-5,
        absgrad=absgrad,
        refine_scale2d_stop_iter=100,
    )
    strategy.check_sanity(params, optimizers)
    state = strategy.initialize_state()

    losses = []
    for step in range(45):
        renders, _, info = rasterization(
            means=params["means"],
            quats=params["quats"],
            scales=params["scales"].exp(),
            opacities=params["opacities"].sigmoid(),
            colors=params["colors"].sigmoid(),
            viewmats=target_scene.viewmats,
            Ks=target_scene.Ks,
            width=32,
            height=32,
            absgrad=absgrad,
        )
        loss = (renders - target).square().mean()
        strategy.step_pre_backward(params, optimizers, state, step, info)
        loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        strategy.step_post_backward(params, optimizers, state, step, info)
        losses.append(loss.item())
    assert len(params["means"]) > 20
    assert losses[-1] < 0.5 * losses[0]


def test_a_batch_of_scenes_is_each_scene_by_its_own_cameras(tools):
    scenes = [tools.ring("", tools.gaussians(30, seed=seed), 20, 16) for seed in (1, 2)]
    names = [*scenes[0].gaussians]
    batch = {name: torch.stack([scene.gaussians[name] for scene in scenes]) for name in names}
    viewmats = torch.stack([scenes[0].viewmats, scenes[1].viewmats.flip(0)])
    Ks = torch.stack([scene.Ks for scene in scenes])
    backgrounds = torch.rand(2, 2, 3)
    rest = {"width": 20, "height": 16, "render_mode": "RGB+ED"}
    renders, alphas, _ = rasterization(
        **batch, viewmats=viewmats, Ks=Ks, backgrounds=backgrounds, **rest
    )
    for index, scene in enumerate(scenes):
        one, alpha, _ = rasterization(
            **scene.gaussians,
            viewmats=viewmats[index],
            Ks=Ks[index],
            backgrounds=backgrounds[index],
            **rest,
        )
        assert torch.equal(renders[index], one) and torch.equal(alphas[index], alpha)
    with pytest.raises(ValueError, match="Ks"):
        rasterization(**batch, viewmats=viewmats, Ks=Ks[:1], backgrounds=backgrounds, **rest)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_features_are_drawn_like_colors_each_camera_its_own(tools, backend):
    scene = tools.ring("", tools.gaussians(200), 40, 30, 3)
    features = torch.rand(3, 200, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    renders, alphas, _ = call(scene, colors=features, backend=backend)
    assert renders.shape == (3, 30, 40, 8)
    for camera in range(3):
        one = {"viewmats": scene.viewmats[[camera]], "Ks": scene.Ks[[camera]], "backend": backend}
        for channels in ([0, 1, 2], [3, 4, 5], [5, 6, 7]):
            expected, alpha, _ = call(scene, colors=features[camera, :, channels], **one)
            # The reference multiplies matrices, whose last bits depend on their widths.
            atol = 1e-6 if backend == "reference" else 0.0
            assert torch.allclose(renders[camera][..., channels], expected[0], rtol=0.0, atol=atol)
            assert torch.equal(alphas[camera], alpha[0])


def test_features_have_a_row_for_each_camera_and_no_background(small):
    with pytest.raises(ValueError, match="colors"):
        call(small, colors=torch.zeros(3, 30, 8))
    with pytest.raises(ValueError, match="black"):
        call(small, colors=torch.zeros(2, 30, 8), render_mode="RGB+D")
