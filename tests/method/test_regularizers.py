"""Regularisers: zero where nothing is wrong, closed forms where something is, true gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stabledreamer_core.scene import regularizers as reg


def test_opacity_wants_zero_or_one() -> None:
    assert reg.opacity(torch.tensor([0.0, 1.0, 1.0]).reshape(1, 1, 3, 1)) == 0.0
    assert reg.opacity(torch.full((2, 4, 4, 1), 0.5)) == 1.0


def test_scale_counts_only_the_excess_of_the_longest_axis() -> None:
    scales = torch.tensor([[0.1, 0.02, 0.3], [0.1, 0.1, 0.1]])
    assert reg.scale(scales, 0.2).item() == pytest.approx(0.05)


def test_anisotropy_leaves_discs_and_punishes_needles() -> None:
    disc, needle = [[1.0, 1.0, 0.01]], [[1.0, 0.1, 0.1]]
    assert reg.anisotropy(torch.tensor(disc), 4.0) == 0.0
    assert reg.anisotropy(torch.tensor(needle), 4.0).item() == pytest.approx(6.0)


def test_position_is_free_inside_the_ball() -> None:
    means = torch.tensor([[0.5, 0.0, 0.0], [0.0, 3.0, 0.0]])
    assert reg.position(means, 1.0).item() == pytest.approx(2.0)


def test_depth_smoothness_of_a_ramp_and_of_a_plane() -> None:
    ones, grey = torch.ones(1, 8, 8, 1), torch.full((1, 8, 8, 3), 0.5)
    assert reg.depth_smoothness(ones, ones, grey) == 0.0
    ramp = torch.arange(8.0).reshape(1, 1, 8, 1).expand(1, 8, 8, 1) * 0.01
    assert reg.depth_smoothness(ramp, ones, grey).item() == pytest.approx(0.01, rel=1e-5)
    assert reg.depth_smoothness(ramp, torch.zeros_like(ones), grey) == 0.0
    stripes = (torch.arange(8) % 2).float().reshape(1, 1, 8, 1).expand(1, 8, 8, 3)
    assert reg.depth_smoothness(ramp, ones, stripes) < 1e-5


def test_saturation_and_leakage() -> None:
    assert reg.saturation(torch.tensor([[0.9, 0.1, 0.5]])) == 0.0
    assert reg.saturation(torch.tensor([[1.0, 0.0, 0.0]])).item() == pytest.approx(0.1)
    alphas = torch.zeros(1, 8, 8, 1)
    alphas[:, 3:5, 3:5] = 1.0
    assert reg.leakage(alphas) == 0.0
    assert reg.leakage(torch.ones(1, 8, 8, 1)) == 1.0


def _scales(n: int) -> Tensor:
    return torch.rand(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.05


@pytest.mark.parametrize(
    ("term", "value"),
    [
        (reg.opacity, _scales(12).reshape(1, 6, 6, 1)),
        (lambda s: reg.scale(s, 0.3), _scales(9)),
        (lambda s: reg.anisotropy(s, 1.1), _scales(9)),
        (lambda m: reg.position(m, 0.7), _scales(9)),
        (lambda a: reg.leakage(a), _scales(12).reshape(1, 6, 6, 1)),
        (lambda c: reg.saturation(c * 1.8), _scales(9)),
    ],
)
def test_gradients_against_finite_differences(
    term: Callable[[Tensor], Tensor], value: Tensor
) -> None:
    assert torch.autograd.gradcheck(term, (value.clone().requires_grad_(),), eps=1e-7)
