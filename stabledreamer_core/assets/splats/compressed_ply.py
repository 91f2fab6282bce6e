"""The compressed PLY of PlayCanvas and SuperSplat: chunks of 256 Gaussians, 16 bytes each."""

from pathlib import Path

from stabledreamer_core.assets.splats.as_gsply import from_gsply, to_gsply
from stabledreamer_core.assets.splats.frames import VIEWER, inverse, rotate
from stabledreamer_core.assets.splats.ply import to_cpu
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.gaussians import Splats


def save_compressed_ply(splats: Splats, path: Path) -> None:
    """Write the finite Gaussians upright in viewers (frames.py), with gsply.

    Raises:
        UserError: `path` cannot be written.
    """
    import gsply

    content = gsply.compress_to_bytes(to_gsply(rotate(to_cpu(splats), VIEWER)))
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def load_compressed_ply(path: Path) -> Splats:
    """Read what `save_compressed_ply` wrote into our world frame."""
    import gsply

    return rotate(from_gsply(gsply.plyread(str(path))), inverse(VIEWER))
