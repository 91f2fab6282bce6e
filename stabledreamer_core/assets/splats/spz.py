"""SPZ, Niantic's format: gzip (version 3) or Zstandard (version 4) over quantised columns.

Its axes are OpenGL's, right, up, back: those of glTF (frames.py).
"""

from pathlib import Path
from typing import Literal

from stabledreamer_core.assets.splats.as_gsply import from_gsply, to_gsply
from stabledreamer_core.assets.splats.frames import GLTF, inverse, rotate
from stabledreamer_core.assets.splats.ply import to_cpu
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.gaussians import Splats

FRACTIONAL_BITS = 16  # of a coordinate's 24: steps of 1 / 65536 world unit, up to 128 units


def save_spz(splats: Splats, path: Path, version: Literal[3, 4] = 3) -> None:
    """Write the finite Gaussians, with gsply.

    Args:
        version: 3, which most viewers read, or 4.

    Raises:
        UserError: `path` cannot be written.
    """
    import gsply

    data = to_gsply(rotate(to_cpu(splats), GLTF))
    with atomic_write(path) as temporary:
        gsply.write_spz(temporary, data, version=version, fractional_bits=FRACTIONAL_BITS)


def save_spz_v4(splats: Splats, path: Path) -> None:
    """`save_spz` in version 4: smaller, for viewers that know it."""
    save_spz(splats, path, version=4)


def load_spz(path: Path) -> Splats:
    """Read an SPZ of any version into our world frame; higher harmonics are dropped."""
    import gsply

    return rotate(from_gsply(gsply.read_spz(path)), inverse(GLTF))
