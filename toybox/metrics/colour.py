"""How far an asset's colours are from the true toy's."""

from torch import Tensor

from toybox.metrics.pictures import Cutout


def colour_error(asset: Cutout, truth: Cutout) -> float | None:
    """Mean absolute difference of the two mean colours of each view, linear RGB; 0 is equal.

    Of each view the mean colour of what is opaque is taken first and compared then: the range is
    [0, 1], 0.1 is a visible tint, white against black is nearly 1. Comparing pixel by pixel where
    both are opaque would mostly measure shape: on true renders another variation of the same toy
    has there .02 to .06, as much as a car of another colour on its cube (.06), while its mean
    colours differ by .002 to .013, at the worst .035 (docs/metrics.md).

    How it misleads: colours in the wrong places, of patches that fill equal shares of a view, are
    not seen, nor is noise that averages out; a toy turned the wrong way round has an error though
    its paints are right; a wrong toy in the right paints has next to none.

    Args:
        asset, truth: the same V views.

    Returns:
        None where some view of the asset shows nothing.
    """
    if not bool((asset.alpha.sum((1, 2, 3)) > 1.0).all()):
        return None
    return float((_mean_colour(asset) - _mean_colour(truth)).abs().mean())


def _mean_colour(pictures: Cutout) -> Tensor:
    """[V, 3] weighted by opacity, so that half-covered outline pixels count by half."""
    return pictures.colour.sum((2, 3)) / pictures.alpha.sum((2, 3)).clamp(min=1e-6)
