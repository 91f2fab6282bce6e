"""Both CPU backends against what can be worked out by hand."""

import math

import pytest
import torch

from stabledreamer_core.rasterize import rasterization

FOCAL, SIDE, EPS2D = 50.0, 31, 0.3
CENTRE = SIDE // 2
BACKENDS = [("reference", torch.float64, 1e-9), ("cpu", torch.float32, 2e-6)]
backends = pytest.mark.parametrize(
    ("backend", "dtype", "tolerance"), BACKENDS, ids=[backend[0] for backend in BACKENDS]
)


def head_on(backend, dtype, layers, background=(0.0, 0.0, 0.0), **settings):
    """Round Gaussians on the optical axis: layers of (depth, scale, opacity, colour)."""
    depths, scales, opacities, colors = zip(*layers, strict=True)
    n = len(layers)
    K = [[FOCAL, 0.0, SIDE / 2], [0.0, FOCAL, SIDE / 2], [0.0, 0.0, 1.0]]
    renders, alphas, _ = rasterization(
        means=torch.tensor([[0.0, 0.0, depth] for depth in depths], dtype=dtype),
        quats=torch.tensor([[1.0, 2.0, -0.5, 0.3]], dtype=dtype).repeat(n, 1),
        scales=torch.tensor(scales, dtype=dtype)[:, None].repeat(1, 3),
        opacities=torch.tensor(opacities, dtype=dtype),
        colors=torch.tensor(colors, dtype=dtype),
        viewmats=torch.eye(4, dtype=dtype)[None],
        Ks=torch.tensor([K], dtype=dtype),
        width=SIDE,
        height=SIDE,
        eps2d=EPS2D,
        backgrounds=torch.tensor([background], dtype=dtype),
        backend=backend,
        **settings,
    )
    return renders[0].double(), alphas[0, ..., 0].double()


@backends
@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("scale", [0.02, 0.2])
def test_one_round_gaussian(backend, dtype, tolerance, mode, scale):
    depth, opacity, colour = 2.0, 0.7, (0.2, 0.5, 0.9)
    renders, alphas = head_on(
        backend, dtype, [(depth, scale, opacity, colour)], rasterize_mode=mode
    )

    sharp = (FOCAL * scale / depth) ** 2
    variance = sharp + EPS2D
    peak = opacity * (sharp / variance if mode == "antialiased" else 1.0)
    steps = torch.arange(SIDE, dtype=torch.float64) - CENTRE
    squared = steps[:, None] ** 2 + steps**2
    expected = peak * torch.exp(-squared / (2 * variance))
    expected[expected < 1 / 255] = 0.0

    assert alphas[CENTRE, CENTRE].item() == pytest.approx(peak, rel=tolerance)
    assert torch.equal(alphas == 0, expected == 0)
    torch.testing.assert_close(alphas, expected, rtol=10 * tolerance, atol=tolerance)
    torch.testing.assert_close(
        renders,
        expected[..., None] * torch.tensor(colour, dtype=torch.float64),
        rtol=10 * tolerance,
        atol=tolerance,
    )


@backends
def test_two_layers(backend, dtype, tolerance):
    near, far = (1.5, 0.3, 0.6, (1.0, 0.2, 0.0)), (2.5, 0.4, 0.8, (0.1, 0.3, 1.0))
    background = (0.3, 0.6, 0.9)
    a, b = (
        opacity * (FOCAL * scale / depth) ** 2 / ((FOCAL * scale / depth) ** 2 + EPS2D)
        for depth, scale, opacity, _ in (near, far)
    )
    weights = a, b * (1 - a), (1 - a) * (1 - b)
    colour = [
        sum(w * c for w, c in zip(weights, channel, strict=True))
        for channel in zip(near[3], far[3], background, strict=True)
    ]
    depth = weights[0] * near[0] + weights[1] * far[0]
    for layers in ([near, far], [far, near]):
        for mode, expected in (("RGB+D", depth), ("RGB+ED", depth / (weights[0] + weights[1]))):
            renders, alphas = head_on(backend, dtype, layers, background, render_mode=mode)
            assert alphas[CENTRE, CENTRE].item() == pytest.approx(1 - weights[2], rel=tolerance)
            assert renders[CENTRE, CENTRE].tolist() == pytest.approx(
                [*colour, expected], rel=tolerance
            )


@backends
def test_a_finished_pixel_takes_no_more(backend, dtype, tolerance):
    # Wide, so that alpha in the centre is the opacity: .2, .04, ... .00032, and then 6.4e-5.
    layers = [(1.0 + 0.1 * k, 1e3, 0.8, (1.0, 1.0, 1.0)) for k in range(12)]
    _, alphas = head_on(backend, dtype, layers, rasterize_mode="classic")
    assert 1 - alphas[CENTRE, CENTRE].item() == pytest.approx(0.2**5, rel=10 * tolerance + 4e-4)


@backends
def test_alpha_is_at_most_0_999(backend, dtype, tolerance):
    _, alphas = head_on(
        backend, dtype, [(1.0, 1e3, 1.0, (1.0, 1.0, 1.0))], rasterize_mode="classic"
    )
    assert alphas[CENTRE, CENTRE].item() == pytest.approx(0.999, rel=tolerance)


@backends
def test_nothing_shows_the_background(backend, dtype, tolerance):
    behind = [(-2.0, 0.2, 0.9, (1.0, 1.0, 1.0))]
    renders, alphas = head_on(backend, dtype, behind, (0.1, 0.2, 0.3), render_mode="RGB+ED")
    assert (alphas == 0).all()
    expected = torch.tensor([0.1, 0.2, 0.3, 0.0], dtype=torch.float64)
    torch.testing.assert_close(renders, expected.expand_as(renders), rtol=tolerance, atol=0)


def test_the_projected_size_falls_with_distance():
    widths = []
    for depth in (1.0, 2.0, 4.0):
        _, alphas = head_on(
            "cpu", torch.float32, [(depth, 0.1, 0.9, (1.0, 1.0, 1.0))], rasterize_mode="classic"
        )
        # The second moment of a Gaussian's picture is its variance.
        steps = torch.arange(SIDE, dtype=torch.float64) - CENTRE
        profile = alphas[CENTRE]
        widths.append((profile * steps**2).sum().item() / profile.sum().item())
    for depth, width in zip((1.0, 2.0, 4.0), widths, strict=True):
        assert width == pytest.approx((FOCAL * 0.1 / depth) ** 2 + EPS2D, rel=0.06)
    assert math.isclose(widths[0] / widths[2], 16, rel_tol=0.2)
