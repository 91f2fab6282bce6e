"""Gaussians laid on known surfaces, and the settings of params.yaml made small."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.scene.gaussians import Splats

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def device() -> torch.device:
    return CPU


@pytest.fixture(scope="session")
def config():
    """The shipped params.yaml."""
    return load_config(None)


@pytest.fixture(scope="session")
def cover() -> Callable[..., Splats]:
    return cover_with_splats


@pytest.fixture
def nothing() -> Splats:
    """No Gaussians at all."""
    return {key: torch.zeros(0, *size) for key, size in SIZES.items()}


SIZES = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "colors": (3,)}


def cover_with_splats(
    mesh: trimesh.Trimesh,
    colour: Callable[[np.ndarray], np.ndarray] | None = None,
    count: int = 6000,
    size: float = 0.02,
    opacity: float = 0.97,
) -> Splats:
    """Flat Gaussians spread over a surface, lying in it.

    Args:
        colour: of points [N, 3] to colours [N, 3] in [0, 1]; grey when absent.
        size: standard deviation along the surface; a tenth of it across.
    """
    points, face = trimesh.sample.sample_surface(mesh, count, seed=0)
    colours = np.full_like(points, 0.5) if colour is None else colour(points)
    normals = torch.tensor(np.asarray(mesh.face_normals[face]), dtype=torch.float32)
    up = torch.tensor([0.0, 0.0, 1.0]).expand(len(points), 3)
    quats = torch.cat([1 + normals[:, 2:], torch.linalg.cross(up, normals)], 1)
    quats[quats.norm(dim=1) < 1e-3] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    return {
        "means": torch.tensor(np.asarray(points), dtype=torch.float32),
        "quats": quats,
        "scales": torch.tensor([size, size, 0.1 * size]).log().repeat(count, 1),
        "opacities": torch.logit(torch.full((count,), opacity)),
        "colors": torch.logit(torch.tensor(colours, dtype=torch.float32).clamp(0.01, 0.99)),
    }


def join(*parts: Splats) -> Splats:
    return {key: torch.cat([part[key] for part in parts]) for key in SIZES}
