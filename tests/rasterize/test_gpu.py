"""The CPU backend and the reference against gsplat itself, scene by scene. Needs CUDA and gsplat.

    pytest -m gpu -s tests/rasterize/test_gpu.py

prints the distances as a Markdown table. gsplat computes in float32 with fast exponentials and its
sums are not in a fixed order, so where it is far from the float64 reference, so may we be from it.
"""

import pytest
import torch

from stabledreamer_core.rasterize import rasterization

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
MODES = [("RGB+ED", "antialiased"), ("RGB+D", "classic"), ("RGB", "antialiased")]
PICTURES = ("renders", "alphas")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def rows():
    found: list[str] = []
    yield found
    gsplat = pytest.importorskip("gsplat")
    print(f"\n\n{torch.cuda.get_device_name()}, torch {torch.__version__}, ", end="")
    print(f"gsplat {gsplat.__version__}; |a - b| / |b|, worst of pictures and of gradients\n")
    print("| scene | modes | pictures: cpu - gsplat | cpu - float64 | gsplat - float64 ", end="")
    print("| gradients: cpu - gsplat | cpu - float64 | gsplat - float64 |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(found))


@pytest.mark.parametrize("modes", MODES, ids=" ".join)
def test_agrees_with_gsplat(tools, rows, scene, modes):
    pytest.importorskip("gsplat")
    names = {"render_mode": modes[0], "rasterize_mode": modes[1]}
    cpu = tools.render(rasterization, scene, backend="cpu", **names)
    gsplat = tools.render(rasterization, scene, backend="gsplat", device="cuda", **names)
    truth = tools.render(rasterization, scene, backend="reference", dtype=torch.float64, **names)

    pairs = (cpu, gsplat), (cpu, truth), (gsplat, truth)
    columns = []
    for of_pictures in (True, False):
        for pair in pairs:
            found = tools.distances(*pair)
            columns.append(max(v for k, v in found.items() if (k in PICTURES) == of_pictures))
    rows.append(
        f"| {scene.name} | {' '.join(modes)} | " + " | ".join(f"{c:.1e}" for c in columns) + " |"
    )
    pictures, gradients = columns[:3], columns[3:]
    for ours, _, theirs in (pictures, gradients):
        assert ours < TOLERANCE + 2 * theirs
    assert cpu.meta.keys() >= {"means2d", "radii", "width", "height", "n_cameras", "gaussian_ids"}


def test_the_same_gaussians_are_seen(tools, scene):
    pytest.importorskip("gsplat")
    if len(scene.gaussians["means"]) == 0:
        pytest.skip("nothing to see")
    ours = tools.render(rasterization, scene, backend="cpu").meta
    theirs = tools.render(rasterization, scene, backend="gsplat", device="cuda").meta
    radii = theirs["radii"].cpu()
    seen = (radii > 0).all(-1)
    assert ((ours["radii"] > 0).all(-1) != seen).float().mean() < 0.01
    both = seen & (ours["radii"] > 0).all(-1)
    assert ((ours["radii"] - radii)[both].abs() <= 1 + 1e-4 * radii[both]).all()
    for name in ("means2d", "depths"):
        assert tools.distance(ours[name][both], theirs[name].cpu()[both]) < 1e-5, name


@pytest.mark.parametrize("absgrad", [False, True])
def test_gradients_in_the_image(tools, absgrad):
    pytest.importorskip("gsplat")
    scene = tools.ring("", tools.gaussians(200), 64, 48)
    found = []
    for device in ("cpu", "cuda"):
        leaves = {k: v.to(device).requires_grad_() for k, v in scene.gaussians.items()}
        renders, _, meta = rasterization(
            **leaves,
            viewmats=scene.viewmats.to(device),
            Ks=scene.Ks.to(device),
            width=64,
            height=48,
            absgrad=absgrad,
        )
        meta["means2d"].retain_grad()
        renders.square().sum().backward()
        found.append(meta["means2d"].absgrad if absgrad else meta["means2d"].grad)
    assert tools.distance(*found) < 1e-4


def test_a_batch_on_gsplat_is_each_scene_alone(tools):
    pytest.importorskip("gsplat")
    scenes = [tools.ring("", tools.gaussians(200, seed=seed), 64, 48) for seed in (1, 2, 3)]
    on_gpu = [
        {name: value.cuda().requires_grad_() for name, value in scene.gaussians.items()}
        for scene in scenes
    ]
    viewmats = torch.stack([scene.viewmats for scene in scenes]).cuda()
    Ks = torch.stack([scene.Ks for scene in scenes]).cuda()
    rest = {"width": 64, "height": 48, "render_mode": "RGB+ED"}
    batch = {name: torch.stack([gaussians[name] for gaussians in on_gpu]) for name in on_gpu[0]}
    backgrounds = torch.rand(3, viewmats.shape[1], 3, device="cuda")
    renders, _, _ = rasterization(
        **batch, viewmats=viewmats, Ks=Ks, backgrounds=backgrounds, **rest
    )
    renders.square().sum().backward()
    for index, scene in enumerate(scenes):
        alone = {name: value.cuda().requires_grad_() for name, value in scene.gaussians.items()}
        one, _, _ = rasterization(
            **alone,
            viewmats=viewmats[index],
            Ks=Ks[index],
            backgrounds=backgrounds[index],
            **rest,
        )
        one.square().sum().backward()
        assert tools.distance(renders[index], one) < 1e-6
        for name, value in alone.items():
            assert tools.distance(on_gpu[index][name].grad, value.grad) < 1e-4, name
