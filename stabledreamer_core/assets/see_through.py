"""Semi-transparent assets: how opaque one is, and a mesh of that opacity.

A mesh is the surface where an object begins, and depth maps of jelly lie in the middle of it. So
for meshing alone every Gaussian absorbs more (`thicken`), until what one sees is the near side.
The surface then gets the one opacity that the object has where it is seen.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

import torch

from stabledreamer_core.assets.mesh.extract import write_mesh
from stabledreamer_core.assets.mesh.glb import JSON_CHUNK, container
from stabledreamer_core.assets.mesh.light import Light
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.cameras import around
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import render_chunks
from stabledreamer_core.settings.output import Mesh

SEEN = 0.1  # less alpha is background, or an outline's edge
SEE_THROUGH = 0.9  # less opacity is see-through
SOLID = 0.97  # the opacity that depths need to be of the near side
BLACK = (0.0, 0.0, 0.0)


def measure_opacity(splats: Splats, device: torch.device) -> float:
    """The median alpha over the object's pixels in eight views at 15 degrees; 0 without any.

    The median, because the edges of a solid object are faint too.

    Args:
        splats: as optimised (log scales, logit opacities).
    """
    views = around(8, elevation_deg=15.0, distance=3.2, fov_deg=40.0, resolution=96)
    alphas = torch.cat([alphas for _, alphas in render_chunks(splats, views, BLACK, device)])
    seen = alphas[alphas > SEEN]
    return float(seen.median()) if len(seen) else 0.0


def thicken(splats: Splats, opacity: float) -> Splats:
    """The same Gaussians, each k times as absorbing: a becomes 1 - (1 - a)^k.

    Alpha along a ray is 1 - prod(1 - a_i), so there `opacity` becomes `SOLID` (exactly, if every
    Gaussian were met in its middle).
    """
    factor = math.log1p(-SOLID) / math.log1p(-min(max(opacity, 1e-3), SOLID))
    absorbed = torch.nn.functional.logsigmoid(-splats["opacities"])  # log(1 - a)
    thick = -torch.expm1(factor * absorbed)
    return splats | {"opacities": torch.logit(thick, eps=1e-6)}


def write_asset_mesh(
    splats: Splats,
    settings: Mesh,
    path: Path,
    device: torch.device,
    *,
    name: str = "asset",
    light: Light | None = None,
    lite: Path | None = None,
) -> dict[str, Any]:
    """As `write_mesh`, and with `settings.see_through` as transparent as the Gaussians.

    The smaller mesh is so, too.

    Returns:
        its facts and opacity, of the Gaussians; surface: "opaque" or "see-through", of the mesh.
    """
    opacity = measure_opacity(splats, device)
    clear = settings.see_through and 0.0 < opacity < SEE_THROUGH
    shown = thicken(splats, opacity) if clear else splats
    facts = write_mesh(shown, settings, path, device, name=name, light=light, lite=lite)
    for file in (path, lite):
        if clear and file is not None:
            set_alpha(file, opacity)
    return facts | {
        "opacity": round(opacity, 3),
        "surface": "see-through" if clear else "opaque",
    }


def told(facts: dict[str, Any], asked: bool) -> str | None:
    """What the mesh made of a semi-transparent asset, in a line; None for a solid one.

    Args:
        asked: `mesh.see_through`; then of a solid one as well.
    """
    if facts["opacity"] >= SEE_THROUGH and asked:
        return f"the prior made it solid (opacity {facts['opacity']:.2f}), and so is mesh.glb"
    if not 0.0 < facts["opacity"] < SEE_THROUGH:
        return None
    says = f"the Gaussians let light through (opacity {facts['opacity']:.2f})"
    if facts["surface"] == "see-through":
        return f"{says}, and mesh.glb is one surface of that opacity"
    return f"{says}, mesh.glb is opaque; --translucent, or mesh.see_through=true, changes that"


def set_alpha(path: Path, alpha: float) -> None:
    """Make every material of a GLB of ours blend with this alpha.

    Raises:
        UserError: `path` cannot be written.
    """
    content = path.read_bytes()
    length, kind = struct.unpack_from("<II", content, 12)
    assert kind == JSON_CHUNK
    tree, rest = json.loads(content[20 : 20 + length]), content[20 + length :]
    for material in tree.get("materials", []):
        color = material.setdefault("pbrMetallicRoughness", {})
        color["baseColorFactor"] = [*color.get("baseColorFactor", [1.0] * 4)[:3], alpha]
        material["alphaMode"] = "BLEND"
    with atomic_write(path) as temporary:
        temporary.write_bytes(container(tree, rest[8:]))
