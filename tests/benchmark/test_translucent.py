"""Figures of semi-transparent assets against closed forms and made-up pictures."""

import pytest
import torch

from benchmarks.claims.translucent import against, jelly_camera, table
from toybox.catalogue import Toy
from toybox.metrics.pictures import Cutout, eight_azimuths

TOY = Toy("bear", "red")


def cutout(alpha: float, colour: float) -> Cutout:
    """A square of one alpha and colour (already times alpha) amid nothing."""
    a, c = torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 8, 8)
    a[:, :, 2:6, 2:6], c[:, :, 2:6, 2:6] = alpha, colour
    return Cutout(c, a)


def test_against() -> None:
    figures = against(cutout(0.75, 0.3), cutout(0.5, 0.4))
    assert figures["alpha_error"] == pytest.approx(0.25)
    assert figures["colour_error"] == pytest.approx(0.1)
    assert figures["opacity"] == pytest.approx(1.5)


def test_figures_tell_jelly_by_its_density_and_shape() -> None:
    azimuths = eight_azimuths()[:2]
    truth = jelly_camera(TOY, 3.0, 15.0)(azimuths, 48)
    assert against(truth, truth)["alpha_error"] == 0.0
    other_shape = against(jelly_camera(TOY, 3.0, 15.0, 1)(azimuths, 48), truth)
    denser = against(jelly_camera(TOY, 9.0, 15.0)(azimuths, 48), truth)
    thinner = against(jelly_camera(TOY, 1.0, 15.0)(azimuths, 48), truth)
    assert 0.0 < other_shape["alpha_error"] < denser["alpha_error"]
    assert thinner["opacity"] < 0.7 < 1.2 < denser["opacity"]


def test_the_table_tests_against_the_nerf() -> None:
    def rows(variant: str, error: float) -> list[dict]:
        figures = {"alpha_error": error, "colour_error": error, "opacity": 1.0}
        return [
            {"variant": variant, "prompt": f"toy {n}", "seed": 0, "metrics": figures}
            for n in range(6)
        ]

    text = table(rows("gaussians", 0.1) + rows("nerf", 0.2))
    assert "| gaussians | 0.100 ± 0.000 (p 0.0312) |" in text  # 2 / 2^6
    assert "| nerf | 0.200 ± 0.000 | 0.200" in text
