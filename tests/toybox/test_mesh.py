"""True meshes are closed, within the unit ball, and lie where the distance is zero."""

import numpy as np
import pytest

from toybox.catalogue import CATEGORIES, Toy
from toybox.geometry import solid
from toybox.mesh import signed_distance, true_mesh


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("accessory", [None, "cube"])
def test_every_category_is_closed(category: str, accessory: str | None) -> None:
    toy = Toy(category, "red", accessory, "blue" if accessory else None)
    mesh = true_mesh(toy, resolution=64)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0.05
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 0.97
    distances, _ = signed_distance(
        solid(category, accessory), np.asarray(mesh.vertices, np.float32)
    )
    assert np.abs(distances).mean() < 2e-3


@pytest.mark.parametrize("accessory", ["top hat", "scarf"])
def test_what_is_worn_is_closed_and_coloured(accessory: str) -> None:
    mesh = true_mesh(Toy("bear", "red", accessory, "blue"), variation_seed=4, resolution=96)
    assert mesh.is_watertight
    colours = np.asarray(mesh.visual.vertex_colors)[:, :3] / 255.0
    red = np.abs(colours - (0.84, 0.07, 0.08)).max(1) < 0.02
    blue = np.abs(colours - (0.10, 0.22, 0.86)).max(1) < 0.02
    assert red.mean() > 0.3 and blue.mean() > 0.03


def test_unknown_toys_are_refused() -> None:
    with pytest.raises(KeyError):
        true_mesh(Toy("car", "red", "top hat", "black"))
