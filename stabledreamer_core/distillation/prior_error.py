"""How far a prior is from the noise in an image under given words: a diffusion classifier's score.

Li et al. 2023, arXiv 2303.16203: the words under which a prior finds the noise best are the ones
that describe the image.
"""

from torch import Tensor

from stabledreamer_core.distillation.loss import add_noise
from stabledreamer_core.priors import Prior


def log_error(prior: Prior, x: Tensor, noise: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
    """Return log || eps - eps(x_t, t, words) ||^2 / numbers in x: [B] float64, without guidance.

    Logarithms can be averaged over noise levels; else the error of a high one, twenty times smaller
    than that of a low one, would have no say.

    Args:
        x, noise: [B, ...]; timesteps: [B]; words: [B, L, D].
    """
    x_t = add_noise(x, noise, *prior.schedule.at(timesteps))
    off = prior.predict_eps(x_t, timesteps, words) - noise
    return off.double().square().flatten(1).mean(1).log()
