"""Scores of outlines, on discs whose areas are known."""

import math
from types import SimpleNamespace

import pytest
import torch

from benchmarks.search import scores
from stabledreamer_core.settings.config import Config


def disc(radius: float, shift: float = 0.0):
    """A camera that sees a disc, in shares of the picture's side."""

    def take(azimuth_deg: torch.Tensor, side: int) -> SimpleNamespace:
        line = (torch.arange(side) + 0.5) / side - 0.5
        inside = (line[:, None] ** 2 + (line[None] - shift) ** 2) < radius**2
        return SimpleNamespace(alpha=inside.float().expand(len(azimuth_deg), 1, side, side))

    return take


@pytest.mark.parametrize(("ours", "true"), [(0.2, 0.3), (0.4, 0.3), (0.3, 0.3)])
def test_outlines_of_discs(ours: float, true: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "asset_camera", lambda *_: disc(ours))
    monkeypatch.setattr(scores, "true_camera", lambda *_: disc(true))
    found = scores.outline({}, "a red bear", Config(), torch.device("cpu"))
    size = (ours / true) ** 2
    assert found["size"] == pytest.approx(size, rel=0.02)
    assert found["overlap"] == pytest.approx(min(size, 1.0 / size), rel=0.02)


def test_apart_they_have_no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "asset_camera", lambda *_: disc(0.1, 0.2))
    monkeypatch.setattr(scores, "true_camera", lambda *_: disc(0.1, -0.2))
    found = scores.outline({}, "a red bear", Config(), torch.device("cpu"))
    assert found["overlap"] == 0.0 and math.isclose(found["size"], 1.0, rel_tol=0.02)


def test_no_toy_no_outline() -> None:
    assert scores.outline({}, "a corgi in a spaceship", Config(), torch.device("cpu")) == {}
