"""Where Gaussians are added, moved and removed.

SDS gradients are noisy, so growth by gradient thresholds (3DGS) fits them badly: the default here
keeps the number fixed and moves dead Gaussians onto living ones, after 3DGS-MCMC (Kheradmand et
al. 2024), whose own CUDA-only relocation gsplat's MCMCStrategy uses. gsplat's DefaultStrategy is
there by name for comparison. All have gsplat's `Strategy` interface, so any of gsplat's own, or one
of yours, takes their place (`run_stage(..., strategy=...)`).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from gsplat.strategy import DefaultStrategy
from gsplat.strategy.base import Strategy
from torch import Tensor

from stabledreamer_core.scene.gaussians import KEYS, Splats
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.scene import Density

Params = dict[str, torch.nn.Parameter] | torch.nn.ParameterDict
Optimizers = dict[str, torch.optim.Optimizer]


def density_strategy(density: Density, iterations: int, seeds: list[int], name: str) -> Strategy:
    """What `density` asks for, for a stage of `iterations` steps.

    Args:
        seeds, name: of the objects and of the stage, for random numbers.
    """
    start = math.ceil(density.start * iterations)
    if density.strategy == "default":
        return CappedGrowth(
            max_count=density.max_count,
            prune_opa=density.dead_opacity,
            grow_grad2d=density.grow_grad2d,
            refine_start_iter=start,
            refine_stop_iter=math.floor(density.stop * iterations),
            refine_every=density.every,
            reset_every=10 * iterations + 1,
        )
    if density.strategy == "relocate":
        stop = math.ceil(density.stop * iterations)
        return Relocation(seeds, name, density.dead_opacity, start, stop, density.every)
    return FixedCount()


class FixedCount(Strategy):
    """No density control. What is derived from it keeps each object's number of Gaussians."""

    def initialize_state(self) -> dict[str, Any]:
        """No running state."""
        return {}


@dataclass
class Relocation(FixedCount):
    """Every `refine_every` steps in [refine_start_iter, refine_stop_iter): `relocate_dead`."""

    seeds: list[int]  # one an object
    name: str  # of the stage
    dead_opacity: float = 0.02
    refine_start_iter: int = 0
    refine_stop_iter: int = 15_000
    refine_every: int = 100

    def step_post_backward(
        self,
        params: Params,
        optimizers: Optimizers,
        state: dict[str, Any],
        step: int,
        info: dict[str, Any],
    ) -> None:
        """Move the dead after `step`, counted from 0."""
        within = self.refine_start_iter <= step < self.refine_stop_iter
        if within and (step + 1) % self.refine_every == 0:
            randoms = [generator(seed, self.name, step, "relocate") for seed in self.seeds]
            relocate_dead(params, optimizers, self.dead_opacity, randoms)


@torch.no_grad()
def split_largest(splats: Splats, count: int) -> Splats:
    """The scene with its largest Gaussians cut in two until there are `count`.

    The halves lie side by side along the longest axis, each 0.6 of its length, so that outlines
    and opaque places stay as they are (3DGS draws them at random, which leaves fur). Size is
    volume weighted by opacity, so that detail goes where something is seen.
    """
    while 0 < len(splats["means"]) < count:
        size = splats["scales"].sum(-1) + torch.nn.functional.logsigmoid(splats["opacities"])
        chosen = size.topk(min(count - len(size), len(size))).indices
        length, axis = splats["scales"][chosen].max(-1)
        along = torch.nn.functional.one_hot(axis, 3).to(length)
        offset = _rotate(splats["quats"][chosen], 0.55 * length.exp()[:, None] * along)
        half = {key: splats[key][chosen] for key in KEYS}
        half["scales"] = half["scales"] + math.log(0.6) * along
        first, second = (half | {"means": half["means"] + sign * offset} for sign in (1.0, -1.0))
        splats = {key: torch.cat([splats[key], second[key]]) for key in KEYS}
        for key in KEYS:
            splats[key][chosen] = first[key]
    return splats


@torch.no_grad()
def relocate_dead(
    params: Params,
    optimizers: Optimizers,
    dead_opacity: float,
    generators: list[torch.Generator],
) -> int:
    """Move every Gaussian of too little opacity onto a living one; returns how many moved.

    `params` hold the Gaussians of as many objects as there are CPU generators, one object after
    another; none moves to another object.

    A target of opacity o shared by k Gaussians gives each 1 - (1 - o)^(1/k), so that looking
    through their centre shows the same opacity as before (3DGS-MCMC, equation 9), and a share
    k^(-1/3) of each axis, so that together they fill about the old volume. Their Adam moments
    start anew. A mover lands at a random point of its target's ellipsoid.
    """
    pairs = [
        _choose_targets(opacities.sigmoid(), dead_opacity, random)
        for opacities, random in zip(
            params["opacities"].chunk(len(generators)), generators, strict=True
        )
    ]
    each = len(params["opacities"]) // len(generators)
    dead = torch.cat([dead + index * each for index, (dead, _, _) in enumerate(pairs)])
    target = torch.cat([target + index * each for index, (_, target, _) in enumerate(pairs)])
    offsets = torch.cat([offsets for _, _, offsets in pairs])
    if len(dead) == 0:
        return 0

    touched, sharers = target.unique(return_counts=True)
    opacities = params["opacities"][touched].sigmoid()
    share = (sharers + 1).to(opacities)
    shared = (1 - (1 - opacities.clamp(max=0.999)) ** (1 / share)).clamp(1e-4, 0.999)
    params["opacities"][touched] = torch.logit(shared)
    old_scales = params["scales"][target].exp()
    params["scales"][touched] -= share.log()[:, None] / 3
    for name in params:
        params[name][dead] = params[name][target]
    params["means"][dead] += _rotate(params["quats"][dead], 0.5 * offsets * old_scales)
    for name, optimizer in optimizers.items():
        for value in optimizer.state.get(params[name], {}).values():
            if isinstance(value, Tensor) and value.shape == params[name].shape:
                value[dead] = 0.0
                value[touched] = 0.0
    return len(dead)


def _choose_targets(
    opacities: Tensor, dead_opacity: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """One object's dead, the living one each moves to, and where in its ellipsoid [dead, 3]."""
    dead = (opacities < dead_opacity).nonzero()[:, 0]
    alive = (opacities >= dead_opacity).nonzero()[:, 0]
    if len(alive) == 0:
        dead = dead[:0]
    if len(dead) == 0:
        return dead, dead, opacities.new_zeros(0, 3)
    weights = opacities[alive].cpu().double()
    drawn = torch.multinomial(weights, len(dead), replacement=True, generator=generator)
    offsets = torch.randn(len(dead), 3, generator=generator).to(opacities.device)
    return dead, alive[drawn.to(alive.device)], offsets


@dataclass
class CappedGrowth(DefaultStrategy):
    """gsplat's DefaultStrategy, in which only the steepest grow where not all have room."""

    max_count: int = 1_000_000
    grow_grad2d: float = 0.0002

    @torch.no_grad()
    def _grow_gs(
        self, params: Params, optimizers: Optimizers, state: dict[str, Any], step: int
    ) -> tuple[int, int]:
        room = max(0, self.max_count - len(params["means"]))
        gradients = state["grad2d"] / state["count"].clamp_min(1)
        threshold = self.grow_grad2d
        if int((gradients > threshold).sum()) > room:  # each of them becomes two
            self.grow_grad2d = float(gradients.topk(room + 1).values[-1])
        try:
            grown: tuple[int, int] = super()._grow_gs(params, optimizers, state, step)
        finally:
            self.grow_grad2d = threshold
        return grown


def _rotate(quats: Tensor, vectors: Tensor) -> Tensor:
    """Rotate vectors [N, 3] by wxyz quaternions [N, 4] of any length."""
    quats = torch.nn.functional.normalize(quats, dim=-1)
    w, axis = quats[:, :1], quats[:, 1:]
    turned = 2.0 * torch.linalg.cross(axis, vectors)
    return vectors + w * turned + torch.linalg.cross(axis, turned)
