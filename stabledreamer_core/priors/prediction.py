"""What a UNet predicts, turned into the noise eps (Salimans & Ho 2022, appendix D).

With abar = alphas_cumprod[t], x_t = sqrt(abar) x0 + sqrt(1 - abar) eps and
v = sqrt(abar) eps - sqrt(1 - abar) x0.
"""

from torch import Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def to_eps(prediction: Tensor, x_t: Tensor, abar: Tensor, prediction_type: str) -> Tensor:
    """Convert `prediction` to the noise eps.

    Args:
        prediction, x_t: [B, C, H, W].
        abar: [B] alphas_cumprod at each sample's timestep, in (0, 1).
        prediction_type: one of `PREDICTION_TYPES`, as a diffusers scheduler names it.
    """
    if prediction_type == "epsilon":
        return prediction
    abar = abar.to(x_t).reshape(-1, 1, 1, 1)
    if prediction_type == "v_prediction":
        return abar.sqrt() * prediction + (1 - abar).sqrt() * x_t
    return (x_t - abar.sqrt() * prediction) / (1 - abar).sqrt()
