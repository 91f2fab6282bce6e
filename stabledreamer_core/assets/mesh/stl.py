"""STL of a finished mesh, for printing: the shape alone, in millimetres, +Z up, the front to -Y."""

from pathlib import Path

import numpy as np
import trimesh

from stabledreamer_core.assets.mesh.glb import Surface
from stabledreamer_core.files import atomic_write

MM = 50.0  # a world unit; the ball of radius 1 becomes 100 mm wide


def save_stl(surface: Surface, path: Path) -> None:
    """Write the triangles as binary STL; (x, y, z) becomes (50 y, -50 x, 50 z).

    Raises:
        UserError: `path` cannot be written.
    """
    vertices = MM * surface.vertices[:, [1, 0, 2]] * np.array([1.0, -1.0, 1.0])
    mesh = trimesh.Trimesh(vertices, surface.faces, process=False)
    with atomic_write(path) as temporary:
        mesh.export(temporary, file_type="stl")
