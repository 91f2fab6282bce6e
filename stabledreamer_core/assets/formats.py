"""The formats an asset can be exported to: what each writes, with what, and how it is read back."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from stabledreamer_core.assets.mesh.glb import Surface
from stabledreamer_core.assets.mesh.obj import save_obj
from stabledreamer_core.assets.mesh.read import read_textured
from stabledreamer_core.assets.mesh.stl import save_stl
from stabledreamer_core.assets.mesh.usdz import save_usdz
from stabledreamer_core.assets.splats.compressed_ply import load_compressed_ply, save_compressed_ply
from stabledreamer_core.assets.splats.gltf import load_gltf, save_gltf
from stabledreamer_core.assets.splats.ply import load_ply, save_ply, to_cpu
from stabledreamer_core.assets.splats.sog import load_sog, save_sog
from stabledreamer_core.assets.splats.spz import load_spz, save_spz, save_spz_v4
from stabledreamer_core.errors import UserError
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.output import FormatName

INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[export]'"


@dataclass(frozen=True)
class SplatFormat:
    """A file of the Gaussians."""

    file: str
    save: Callable[[Splats, Path], None]
    load: Callable[[Path], Splats]
    """Into our world frame."""
    needs: tuple[str, ...] = ()
    """Modules of optional packages."""
    load_needs: tuple[str, ...] = ()
    """Those that reading alone needs."""


@dataclass(frozen=True)
class MeshFormat:
    """Files of the mesh."""

    file: str
    save: Callable[[Surface, Path], None]
    beside: tuple[str, ...] = ()
    """Written too where the mesh has a texture."""
    needs: tuple[str, ...] = ()


SPLATS: dict[FormatName, SplatFormat] = {
    "ply": SplatFormat("gaussians.ply", save_ply, load_ply),
    "compressed-ply": SplatFormat(
        "gaussians.compressed.ply", save_compressed_ply, load_compressed_ply, ("gsply",)
    ),
    "spz": SplatFormat("gaussians.spz", save_spz, load_spz, ("gsply",)),
    "spz-v4": SplatFormat("gaussians.v4.spz", save_spz_v4, load_spz, ("gsply", "zstandard")),
    "sog": SplatFormat("gaussians.sog", save_sog, load_sog, load_needs=("gsply", "imagecodecs")),
    "gltf": SplatFormat("gaussians.glb", save_gltf, load_gltf),
}
MESHES: dict[FormatName, MeshFormat] = {
    "usdz": MeshFormat("mesh.usdz", save_usdz, needs=("pxr",)),
    "obj": MeshFormat("mesh.obj", save_obj, ("mesh.mtl", "mesh.png")),
    "stl": MeshFormat("mesh.stl", save_stl),
}
NAMES: tuple[FormatName, ...] = get_args(FormatName)


def named_formats(names: Iterable[str], read_back: bool = False) -> list[FormatName]:
    """The formats of these names, each once; "all" names every one.

    Args:
        read_back: whether the files will be read, too.

    Raises:
        UserError: there is none of a name, or a package that one needs is not installed.
    """
    found: dict[FormatName, None] = {}
    for name in names:
        if name != "all" and name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UserError(f"no format {name!r}; {hint}formats: {', '.join(NAMES)}, all")
        found |= dict.fromkeys(one for one in NAMES if name in (one, "all"))
    for one in found:
        needs = SPLATS[one].needs if one in SPLATS else MESHES[one].needs
        if read_back and one in SPLATS:
            needs += SPLATS[one].load_needs
        if any(find_spec(module) is None for module in needs):
            raise UserError(f"{one} needs packages that are not installed: {INSTALL}")
    return list(found)


def export(
    formats: Iterable[FormatName], splats: Splats, mesh: Path, folder: Path
) -> dict[FormatName, tuple[str, ...]]:
    """Write an asset's Gaussians and mesh in some formats.

    Args:
        mesh: its mesh.glb; read only where a format of the mesh is asked for.
        folder: where the files go.

    Returns:
        The names of each format's files in `folder`.

    Raises:
        UserError: there are no Gaussians, the mesh is missing, damaged or empty, or a file cannot
            be written.
    """
    written: dict[FormatName, tuple[str, ...]] = {}
    splats = to_cpu(splats)
    for name in formats:
        if name in SPLATS:
            if not len(splats["means"]):
                raise UserError(f"the asset has no Gaussians to write as {name}")
            files: tuple[str, ...] = (SPLATS[name].file,)
            SPLATS[name].save(splats, folder / files[0])
        else:
            surface = read_textured(mesh)
            if surface is None:
                raise UserError(f"{mesh} has no surface to write as {name}: its scene is empty")
            files = (MESHES[name].file,)
            MESHES[name].save(surface, folder / files[0])
            files += MESHES[name].beside if surface.texture is not None else ()
        written[name] = files
    return written
