"""What the stage loop carries from step to step, and its form as named tensors for resuming."""

from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.distillation.sample_step import Target
from stabledreamer_core.scene import density as density_control
from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.scene.gaussians import KEYS, Splats
from stabledreamer_core.settings.config import Stage


def begin(
    stage: Stage,
    starts: list[Splats],
    device: torch.device,
    resume: tuple[int, dict[str, Tensor]] | None,
) -> tuple[
    Any, density_control.Optimizers, density_control.GradientGrowth | None, Target | None, int
]:
    """Parameters, one Adam each (as gsplat's strategies expect), density state, target, step.

    What `resume` holds is copied, never changed: the loop may have to go back to it again.

    Raises:
        ValueError: the density strategy "default" is asked for more than one object.
    """
    if stage.density.strategy == "default" and len(starts) > 1:
        raise ValueError("the density strategy default changes each object's size: one at a time")
    first, tensors = resume or (0, {})
    if resume:
        source = {key: tensors[key] for key in KEYS}
    else:
        split = [density_control.split_largest(s, stage.density.start_count) for s in starts]
        source = {key: torch.cat([scene[key] for scene in split]) for key in KEYS}
        if not stage.anisotropic:
            source["scales"] = source["scales"].mean(-1, keepdim=True).expand(-1, 3)
    params = torch.nn.ParameterDict(
        {key: torch.nn.Parameter(source[key].detach().to(device).clone()) for key in KEYS}
    )
    optimizers: density_control.Optimizers = {
        key: torch.optim.Adam([params[key]], lr=1e-3, betas=stage.adam_betas, eps=1e-15)
        for key in KEYS
    }
    if resume:
        for key, optimizer in optimizers.items():
            optimizer.state[params[key]] = {
                "step": tensors[f"adam.{key}.step"].clone(),
                "exp_avg": tensors[f"adam.{key}.exp_avg"].to(device, copy=True),
                "exp_avg_sq": tensors[f"adam.{key}.exp_avg_sq"].to(device, copy=True),
            }
    growth = None
    if stage.density.strategy == "default":
        kept = {k: v.to(device, copy=True) for k, v in _strip(tensors, "growth.").items()}
        growth = density_control.GradientGrowth(stage.density, stage.iterations, kept)
    return params, optimizers, growth, _restore_target(tensors, stage, device), first


def state_tensors(
    stage: Stage,
    step: int,
    params: Any,
    optimizers: density_control.Optimizers,
    growth: density_control.GradientGrowth | None,
    target: Target | None,
) -> dict[str, Tensor]:
    """Everything that `step`, the next one, depends on, as named tensors."""
    tensors = {key: params[key] for key in KEYS}
    for key, optimizer in optimizers.items():
        for moment, value in optimizer.state[params[key]].items():
            tensors[f"adam.{key}.{moment}"] = value
    if growth:
        tensors.update({f"growth.{key}": value for key, value in growth.tensors().items()})
    if target is not None and target.x0_hat is not None and step % stage.target_reuse:
        views = target.views
        tensors |= {
            "target.azimuth_deg": views.azimuth_deg,
            "target.elevation_deg": views.elevation_deg,
            "target.viewmats": views.viewmats,
            "target.Ks": views.Ks,
            "target.backgrounds": target.backgrounds,
            "target.timesteps": target.timesteps,
            "target.weight": target.weight,
            "target.x0_hat": target.x0_hat,
        }
    return tensors


def _restore_target(
    tensors: dict[str, Tensor], stage: Stage, device: torch.device
) -> Target | None:
    kept = {key: value.to(device) for key, value in _strip(tensors, "target.").items()}
    if not kept:
        return None
    views = Views(
        kept["azimuth_deg"],
        kept["elevation_deg"],
        kept["viewmats"],
        kept["Ks"],
        stage.render_resolution,
    )
    return Target(views, kept["backgrounds"], kept["timesteps"], kept["weight"], kept["x0_hat"])


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
