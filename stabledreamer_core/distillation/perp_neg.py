"""Guidance away from the words of wrong views: the setting `view_bias.perp_neg` of a stage.

Perp-Neg (Armandpour et al. 2023, arXiv 2304.04968): a view from behind is led away from "front
view", but only by what is perpendicular to the way to its own words, since what the two have in
common is the object.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

WRONG_VIEWS = 2  # of each view: the front, and the side


@dataclass(frozen=True)
class WrongViews:
    """The words of other views that B views are led away from, K for each."""

    words: Tensor  # [B, K, L, D] embeddings
    weights: Tensor  # [B, K], at least 0

    def of(self, rows: Tensor | list[int]) -> "WrongViews":
        """Return those of some of the views."""
        return WrongViews(self.words[rows], self.weights[rows])


def perp_neg(
    predict_eps: Callable[[Tensor, Tensor, Tensor], Tensor],
    x_t: Tensor,
    timesteps: Tensor,
    eps_uncond: Tensor,
    eps_cond: Tensor,
    wrong: WrongViews,
) -> Tensor:
    """Return eps_cond - sum_k w_k perp(eps(x_t, wrong_k) - eps_uncond), like eps_cond [B, ...].

    Guidance from eps_uncond towards it is Perp-Neg's. perp takes the component perpendicular to
    eps_cond - eps_uncond. It costs K samples through the network for each of the B.
    """
    count, each = wrong.weights.shape
    words = wrong.words.flatten(0, 1)
    eps = predict_eps(x_t.repeat_interleave(each, 0), timesteps.repeat_interleave(each), words)
    away = eps.reshape(count, each, *eps.shape[1:]) - eps_uncond[:, None]
    away = perpendicular(away, eps_cond - eps_uncond)
    weights = wrong.weights.to(away).reshape(count, each, *[1] * (eps_cond.ndim - 1))
    return eps_cond - (weights * away).sum(1)


def perpendicular(vectors: Tensor, direction: Tensor) -> Tensor:
    """Return the component of vectors [B, K, ...] perpendicular to direction [B, ...]."""
    flat, along = vectors.flatten(2), direction.flatten(1)[:, None]
    square = along.square().sum(-1, keepdim=True).clamp(min=1e-12)
    return (flat - (flat * along).sum(-1, keepdim=True) / square * along).reshape_as(vectors)


def wrong_view_weights(azimuth_deg: float) -> tuple[float, float]:
    """Return how strongly a view is led away from the words of the front and of the side.

    The curves a exp(-b r) + c that implementations of Perp-Neg share: each is 0 at its own
    direction; the front's is 1.57 at the side and 1.97 at the back, the side's is 1.57 in front and
    .39 at the back.
    """
    behind = abs((azimuth_deg + 180.0) % 360.0 - 180.0) / 90.0  # 0 front, 1 side, 2 back
    if behind <= 1.0:
        return 4.0 * _rise(1.0 - behind), 4.0 * _rise(behind)
    return 4.0 * _rise(0.0) + _rise(2.0 - behind), _rise(2.0 - behind)


def _rise(near: float) -> float:
    """0 at `near` = 1, .39 at 0."""
    return math.exp(-0.5 * near) - math.exp(-0.5)
