"""Scenes for the rasteriser's tests, and how far two results are apart.

A test with an argument `scene` runs once for every scene. Values are float32; the reference takes
them in float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

INPUTS = ("means", "quats", "scales", "opacities", "colors", "backgrounds")


@dataclass(frozen=True)
class Scene:
    name: str
    gaussians: dict[str, Tensor]
    viewmats: Tensor
    Ks: Tensor
    width: int
    height: int
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    renders: Tensor
    alphas: Tensor
    meta: dict[str, Any]
    gradients: dict[str, Tensor]


def cameras(count: int, width: int, height: int, distance: float = 3.2) -> tuple[Tensor, Tensor]:
    """Cameras in a ring about the origin, each tilted a little, that look at it."""
    viewmats, Ks = [], []
    for index in range(count):
        a = 2 * math.pi * index / count + 0.1
        e = 0.3 * index
        out = torch.tensor(
            [math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)],
            dtype=torch.float64,
        )
        right = torch.tensor([-math.sin(a), math.cos(a), 0.0], dtype=torch.float64)
        rotation = torch.stack([right, torch.linalg.cross(-out, right), -out])
        viewmat = torch.eye(4, dtype=torch.float64)
        viewmat[:3, :3] = rotation
        viewmat[:3, 3] = -rotation @ (out * distance)
        viewmats.append(viewmat)
        focal = 1.4 * max(width, height)
        Ks.append(
            torch.tensor([[focal, 0, width / 2], [0, 1.1 * focal, height / 2 + 0.3], [0, 0, 1]])
        )
    return torch.stack(viewmats).float(), torch.stack(Ks).float()


def gaussians(
    count: int,
    seed: int = 0,
    scale: tuple[float, float] = (0.02, 0.1),
    opacity: tuple[float, float] = (0.05, 0.95),
    radius: float = 0.8,
) -> dict[str, Tensor]:
    """Gaussians in a ball; scales log-uniform, opacities uniform."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    directions = torch.randn(count, 3, generator=generator)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return {
        "means": directions * radius * uniform(count, 1) ** (1 / 3),
        "quats": torch.randn(count, 4, generator=generator),
        "scales": scale[0] * (scale[1] / scale[0]) ** uniform(count, 3),
        "opacities": opacity[0] + (opacity[1] - opacity[0]) * uniform(count),
        "colors": uniform(count, 3),
    }


def ring(name: str, values: dict[str, Tensor], width: int, height: int, count: int = 2) -> Scene:
    return Scene(name, values, *cameras(count, width, height), width, height)


def frontal(
    name: str, values: dict[str, Tensor], width: int, height: int, **settings: Any
) -> Scene:
    """One camera at the origin that looks along +Z: depths are exactly the means' z."""
    K = torch.tensor([[40.0, 0, width / 2], [0, 40.0, height / 2], [0, 0, 1]])
    return Scene(name, values, torch.eye(4)[None], K[None], width, height, settings)


def moved(values: dict[str, Tensor], z: Tensor | float) -> dict[str, Tensor]:
    offset = torch.zeros_like(values["means"])
    offset[:, 2] = torch.as_tensor(z)
    return values | {"means": values["means"] + offset}


def scenes() -> list[Scene]:
    found = [
        ring("random", gaussians(200), 48, 40),
        ring("one pixel", gaussians(40), 1, 1),
        ring("7 x 5", gaussians(60), 7, 5, 3),
        ring("33 x 65", gaussians(80), 33, 65),
        ring("127 x 31", gaussians(80), 127, 31),
        ring("no Gaussians", gaussians(0), 20, 17),
        ring("one Gaussian", gaussians(1), 20, 17),
        ring("opaque", gaussians(150, opacity=(1.0, 1.0)), 40, 30),
        ring("faint", gaussians(200, opacity=(0.0, 0.02)), 40, 30),
        ring("huge", gaussians(40, scale=(0.5, 30.0)), 40, 40),
        ring("tiny", gaussians(200, scale=(1e-5, 0.01)), 40, 30),
        ring("vanishing", gaussians(100, scale=(1e-9, 1e-7)), 20, 20),
        ring("larger than the world", gaussians(20, scale=(1e3, 1e5)), 20, 20),
        ring("around the cameras", gaussians(200, radius=4.0), 40, 30, 3),
    ]
    behind = gaussians(100, radius=2.0)
    found.append(frontal("behind and in front", behind, 40, 30))
    found.append(frontal("all behind", moved(behind, -5.0), 40, 30))

    # Depths that are exactly representable, so that every precision agrees on which side they are.
    plane = gaussians(60, radius=0.3)
    plane["means"][:, 2] = torch.tensor(
        [0.0, -0.0, 0.125, 0.1249, 0.1251, 2.0, 2.001, 1.999, 1.0, -1.0]
    ).repeat(6)
    found.append(frontal("on the planes", plane, 40, 30, near_plane=0.125, far_plane=2.0))

    needles = gaussians(80, seed=3)
    needles["scales"] = torch.tensor([1e-3, 1e-3, 0.4]).repeat(80, 1)
    found.append(ring("needles", needles, 50, 40))
    discs = gaussians(80, seed=4)
    discs["scales"] = torch.tensor([0.2, 0.1, 0.0]).repeat(80, 1)
    found.append(ring("discs without thickness", discs, 50, 40))

    pile = gaussians(3000, seed=5, scale=(1e-3, 1e-2), opacity=(0.01, 0.3), radius=0.3)
    pile["means"] *= torch.tensor([0.01, 0.01, 1.0])
    found.append(frontal("thousands in a pixel", moved(pile, 2.0), 5, 5))
    tied = gaussians(64, seed=6, radius=0.5)
    tied["means"][:, 2] = 2.0
    found.append(frontal("equal depths", tied, 40, 30))
    wide = gaussians(200, seed=7, radius=0.1)
    wide["means"] = wide["means"] * 30 + torch.tensor([0.0, 0.0, 1.0])
    wide["scales"] *= 5
    found.append(frontal("outside the picture", wide, 40, 30))
    return found


SCENES = scenes()


def render(
    rasterization: Callable[..., Any],
    scene: Scene,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    **settings: Any,
) -> Result:
    """The pictures, and the gradients of a random linear function of them."""
    generator = torch.Generator().manual_seed(11)
    n_cameras = len(scene.viewmats)
    values = scene.gaussians | {"backgrounds": torch.rand(n_cameras, 3, generator=generator)}
    leaves = {name: values[name].to(device, dtype).clone().requires_grad_() for name in INPUTS}
    renders, alphas, meta = rasterization(
        **leaves,
        viewmats=scene.viewmats.to(device, dtype),
        Ks=scene.Ks.to(device, dtype),
        width=scene.width,
        height=scene.height,
        **(scene.settings | settings),
    )
    weights = torch.rand(*alphas.shape[:-1], 5, generator=generator).to(device, dtype) - 0.3
    loss = (renders * weights[..., : renders.shape[-1]]).sum() + (alphas * weights[..., 4:]).sum()
    loss.backward()
    gradients = {name: leaf.grad for name, leaf in leaves.items()}
    return Result(renders.detach(), alphas.detach(), meta, gradients)


def distance(value: Tensor, truth: Tensor) -> float:
    """|value - truth| / |truth|, and |value| where the truth is 0."""
    value, truth = value.detach().double().cpu(), truth.detach().double().cpu()
    assert value.shape == truth.shape
    assert value.isfinite().all()
    size = truth.norm().item()
    return (value - truth).norm().item() / (size if size > 0 else 1.0)


def distances(value: Result, truth: Result) -> dict[str, float]:
    pairs = {"renders": (value.renders, truth.renders), "alphas": (value.alphas, truth.alphas)}
    pairs |= {name: (value.gradients[name], truth.gradients[name]) for name in INPUTS}
    return {name: distance(*pair) for name, pair in pairs.items()}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scene" in metafunc.fixturenames:
        metafunc.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])


@pytest.fixture(scope="session")
def tools() -> Any:
    """What test modules take from here: pytest imports them by path, so they cannot import it."""

    class Tools:
        Scene, SCENES, INPUTS = Scene, SCENES, INPUTS
        gaussians, ring, frontal = (
            staticmethod(gaussians),
            staticmethod(ring),
            staticmethod(frontal),
        )
        render, distance = staticmethod(render), staticmethod(distance)
        distances = staticmethod(distances)

    return Tools
