"""A prior's noise schedule: x_t = alpha_t x + sigma_t eps, whatever family it is of.

Discrete DDPM (Ho et al. 2020): alpha = sqrt(abar), sigma = sqrt(1 - abar). Rectified flow (Liu et
al. 2022; Esser et al. 2024): alpha = 1 - s, sigma = s. Indices [0, T) into a schedule are called
timesteps throughout, from little noise to much.

Noise levels in settings are fractions of a DDPM schedule's length. For a flow schedule, whose
indices mean other amounts of noise, a fraction stands for the index that has the same log
signal-to-noise ratio, log alpha^2 / sigma^2, as Stable Diffusion's schedule has at that fraction:
0.02 to 0.98 means there what it means for Stable Diffusion, s from .04 to .93.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.priors.quiet import quiet

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")  # of a DDPM scheduler; a flow one: "flow"
MIN_ABAR = 2.0**-24  # float32 still tells x0_hat from the noise there
FLOW = "FlowMatchEulerDiscreteScheduler"
SD_BETAS = (0.00085, 0.012)  # of Stable Diffusion: their square roots are evenly spaced


@dataclass(frozen=True)
class Schedule:
    """T noise levels, from little noise to much."""

    alphas: Tensor  # [T] > 0
    sigmas: Tensor  # [T] > 0
    variances: Tensor  # [T] sigma^2; 1 - abar itself, which the square of its root need not be
    timesteps: Tensor  # [T] what the network is told
    fractions: Tensor  # [T] float64 in [0, 1): each level in the terms of settings
    indices: Tensor  # [L] the way back: the index for each L-th of [0, 1)

    def __len__(self) -> int:
        return len(self.alphas)

    def at(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha [B] and sigma [B] at timesteps [B]."""
        return self.alphas[timesteps], self.sigmas[timesteps]

    def index(self, fraction: float) -> int:
        """Return the index of a noise level in [0, 1]."""
        return int(self.indices[min(int(fraction * len(self.indices)), len(self.indices) - 1)])

    def to(self, device: torch.device) -> "Schedule":
        """Return the schedule on a device."""
        return Schedule(**{name: value.to(device) for name, value in vars(self).items()})


def ddpm_schedule(abar: Tensor, dtype: torch.dtype = torch.float32) -> Schedule:
    """Return the schedule of a DDPM's alphas_cumprod [T] in (0, 1), its tables in `dtype`."""
    abar, steps = abar.to(dtype), torch.arange(len(abar))
    fractions = steps.to(torch.float64) / len(abar)
    return Schedule(abar.sqrt(), (1 - abar).sqrt(), 1 - abar, steps, fractions, steps)


def flow_schedule(
    s: Tensor,
    timesteps: Tensor | None = None,
    noise_scale: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Schedule:
    """Return the schedule of a rectified flow: alpha = 1 - s, sigma = noise_scale s.

    Pure noise, s = 1, stands at `MIN_ABAR`, so that x0_hat has no division by zero.

    Args:
        s: [T] ascending in (0, 1].
        timesteps: [T] what the network is told; None: 1000 s.
        noise_scale: standard deviation of the noise at s = 1.
    """
    s = s.to(dtype).double()  # so that alpha + sigma is 1 in dtype
    alphas = (1.0 - s).clamp(min=math.sqrt(MIN_ABAR))
    sigmas = noise_scale * (1.0 - alphas)
    log_snr = 2.0 * (alphas / sigmas).log()  # [T] descending
    reference = _sd_log_snr()  # [L] descending
    fractions = _positions(log_snr, reference) / len(reference)
    indices = _positions(reference, log_snr).round().long()
    told = 1000.0 * s if timesteps is None else timesteps
    tables = (alphas.to(dtype), sigmas.to(dtype), sigmas.square().to(dtype))
    return Schedule(*tables, told.float(), fractions, indices)


def _positions(values: Tensor, table: Tensor) -> Tensor:
    """Return where values lie in a descending table, as fractional indices within it."""
    above = torch.searchsorted(-table, -values).clamp(1, len(table) - 1)
    low, high = table[above - 1], table[above]
    return above - 1 + ((low - values) / (low - high)).clamp(0.0, 1.0)


def _sd_log_snr() -> Tensor:
    """Return the log signal-to-noise ratios [1000] of Stable Diffusion's schedule, descending."""
    low, high = (math.sqrt(beta) for beta in SD_BETAS)
    abar = (1.0 - torch.linspace(low, high, 1000, dtype=torch.float64).square()).cumprod(0)
    return (abar / (1.0 - abar)).log()


def to_eps(
    prediction: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor, prediction_type: str
) -> Tensor:
    """Convert what a network predicts to the noise eps.

    v_prediction is alpha eps - sigma x0 (Salimans & Ho 2022, appendix D); flow is eps - x0, where
    alpha + sigma = 1; sample is x0. x0_hat = (x_t - sigma eps) / alpha then follows for each
    (`one_step_denoised`).

    Args:
        prediction, x_t: [B, C, H, W].
        alpha, sigma: [B] at each sample's timestep.
        prediction_type: one of `PREDICTION_TYPES`, as a diffusers scheduler names it, or "flow".
    """
    if prediction_type == "epsilon":
        return prediction
    alpha, sigma = (value.to(x_t).reshape(-1, 1, 1, 1) for value in (alpha, sigma))
    if prediction_type == "v_prediction":
        return alpha * prediction + sigma * x_t
    if prediction_type == "flow":
        return x_t + alpha * prediction
    return (x_t - alpha * prediction) / sigma


def read_schedule(
    config: dict[str, Any],
    tokens: int,
    dtype: torch.dtype = torch.float32,
    noise_scale: float = 1.0,
) -> tuple[Schedule, str]:
    """Read the schedule of a diffusers scheduler's configuration, and its prediction type.

    Args:
        tokens: of an image in the network, for dynamic shifting, which shifts larger images more.

    Raises:
        UserError: it describes no schedule, an unknown prediction, or ends in pure noise and
            predicts eps.
    """
    if config.get("_class_name") == FLOW or config.get("use_flow_sigmas"):
        return flow_schedule(_flow_levels(config, tokens), None, noise_scale, dtype), "flow"
    prediction_type = config.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        raise UserError(
            f"this prior's scheduler_config.json: prediction_type {prediction_type!r} is not one of"
            f" {', '.join(PREDICTION_TYPES)}"
        )
    return ddpm_schedule(read_alphas_cumprod(config), dtype), prediction_type


def _flow_levels(config: dict[str, Any], tokens: int) -> Tensor:
    """Return s [T], ascending: even steps, shifted as the scheduler shifts them.

    s' = shift s / (1 + (shift - 1) s) (Esser et al. 2024, equation 23); dynamic shifting has
    shift = exp(mu), or mu itself, with mu linear in the number of tokens.
    """
    try:
        count, shift = config.get("num_train_timesteps", 1000), config.get("shift")
        shift = float(config.get("flow_shift", 1.0) if shift is None else shift)
        if config.get("use_dynamic_shifting"):
            few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
            base, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
            mu = base + (most - base) * (tokens - few) / (many - few)
            shift = mu if config.get("time_shift_type") == "linear" else math.exp(mu)
        s = torch.arange(1, count + 1, dtype=torch.float64) / count
        s = shift * s / (1.0 + (shift - 1.0) * s)
    except (ArithmeticError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"this prior is damaged: its scheduler cannot be made ({first_line(error)})"
        ) from error
    if len(s) < 2 or not (s > 0.0).all() or not (s <= 1.0).all() or not (s.diff() > 0.0).all():
        raise UserError("this prior is damaged: its scheduler describes no noise schedule")
    return s


def read_alphas_cumprod(config: dict[str, Any]) -> Tensor:
    """Read alphas_cumprod [T], float32 in (0, 1), of a diffusers scheduler's configuration.

    A schedule whose last level is pure noise (zero terminal SNR, Lin et al. 2023, "Common diffusion
    noise schedules and sample steps are flawed") ends at `MIN_ABAR` instead, as in diffusers'
    Euler sampler, so that x0_hat has no division by zero.

    Raises:
        UserError: it describes no schedule, or ends in pure noise and predicts eps.
    """
    with quiet():
        from diffusers import DDPMScheduler

        try:
            abar = DDPMScheduler.from_config(config).alphas_cumprod.float()
        except Exception as error:
            raise UserError(
                f"this prior is damaged: its scheduler cannot be made ({first_line(error)})"
            ) from error
    levels = abar.isfinite() & (abar >= 0.0) & (abar < 1.0)
    if abar.ndim != 1 or len(abar) < 2 or not levels.all():
        raise UserError(
            "this prior is damaged: its scheduler's alphas_cumprod is no noise schedule"
        )
    if abar.min() == 0.0 and config.get("prediction_type", "epsilon") == "epsilon":
        raise UserError(
            "this prior's noise schedule ends in pure noise (alphas_cumprod 0: zero terminal SNR),"
            " where a prediction of the noise (prediction_type epsilon) tells nothing of the image;"
            " its scheduler_config.json must say prediction_type v_prediction or sample, or"
            " rescale_betas_zero_snr false"
        )
    return torch.where(abar == 0.0, MIN_ABAR, abar)
