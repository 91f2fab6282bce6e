"""Which words each view is asked with, and which it is led away from.

The nearest direction's words, or with `view_bias.interpolate` a mix of the two nearest ones'
embeddings, so that a view between two directions is asked for neither alone. The mix is of
embeddings, as in Perp-Neg's experiments (arXiv 2304.04968), and costs nothing.
"""

import torch
from torch import Tensor

from stabledreamer_core.distillation.perp_neg import WrongViews, wrong_view_weights
from stabledreamer_core.distillation.view_prompts import (
    OVERHEAD_DEG,
    view_index,
)
from stabledreamer_core.memory import upload
from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.settings.stage import Stage


def view_conditions(
    stage: Stage, embeddings: Tensor, views: Views
) -> tuple[Tensor, WrongViews | None]:
    """Return the embeddings [B C, L, D] that views are asked with, and the wrong ones.

    Args:
        embeddings: [B, V, L, D] of each object's prompt with each of the stage's view words.
        views: B C of them, object by object.

    Returns:
        The wrong ones are None unless `view_bias.perp_neg` is on.
    """
    objects, words = embeddings.shape[:2]
    azimuth, elevation = views.azimuth_deg.tolist(), views.elevation_deg.tolist()
    places, vocabulary = list(zip(azimuth, elevation, strict=True)), stage.view_words
    first = torch.arange(len(places)) // max(len(places) // objects, 1) * words
    flat, bias = embeddings.flatten(0, 1), stage.view_bias

    def rows(chosen: list[int]) -> Tensor:
        return flat[upload(first + torch.tensor(chosen), flat.device)]

    if bias.interpolate:
        near, far, share = zip(*(neighbours(*place, vocabulary) for place in places), strict=True)
        mix = upload(torch.tensor(share), flat.device).to(flat)[:, None, None]
        cond = torch.lerp(rows([*near]), rows([*far]), mix)
    else:
        cond = rows([view_index(*place, vocabulary) for place in places])
    if bias.perp_neg == 0.0:
        return cond, None
    front = view_index(0.0, 0.0, vocabulary)
    sides = [
        view_index(90.0 if angle % 360.0 < 180.0 else 270.0, 0.0, vocabulary) for angle in azimuth
    ]
    weights = [
        (0.0, 0.0) if up >= OVERHEAD_DEG else wrong_view_weights(angle) for angle, up in places
    ]
    wrong = torch.stack([rows([front] * len(places)), rows(sides)], 1)
    return cond, WrongViews(wrong, upload(bias.perp_neg * torch.tensor(weights), flat.device))


def neighbours(azimuth_deg: float, elevation_deg: float, vocabulary: str) -> tuple[int, int, float]:
    """Return the rows of the two nearest directions' words, and the second one's share in [0, 1).

    Overhead stays a switch: it is no direction between others.
    """
    arc = 45.0 if vocabulary == "eight" else 90.0
    step, share = divmod(azimuth_deg, arc)
    if elevation_deg >= OVERHEAD_DEG:
        share = 0.0
    near, far = (view_index(arc * (step + more), elevation_deg, vocabulary) for more in (0.0, 1.0))
    return near, far, share / arc
