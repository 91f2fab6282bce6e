"""Our scenes as the gsply library holds them, which has the codecs of several formats."""

from typing import Any

import torch

from stabledreamer_core.assets.splats.ply import from_sh, to_sh
from stabledreamer_core.scene.gaussians import Splats


def to_gsply(splats: Splats) -> Any:
    """A `gsply.GSData` of log scales, unit quaternions, logit opacities and SH degree 0."""
    import gsply

    quats = torch.nn.functional.normalize(splats["quats"], dim=-1)
    return gsply.GSData.from_arrays(
        splats["means"].numpy(),
        splats["scales"].numpy(),
        quats.numpy(),
        splats["opacities"].numpy(),
        to_sh(splats["colors"]).numpy(),
        format="ply",
    )


def from_gsply(data: Any) -> Splats:
    """Invert `to_gsply`."""
    return {
        "means": torch.tensor(data.means),
        "quats": torch.tensor(data.quats),
        "scales": torch.tensor(data.scales),
        "opacities": torch.tensor(data.opacities).reshape(-1),
        "colors": from_sh(torch.tensor(data.sh0)),
    }
