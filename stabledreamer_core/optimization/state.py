"""What the stage loop carries from step to step; it loads and saves itself."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from gsplat.strategy import MCMCStrategy
from gsplat.strategy.base import Strategy
from torch import Tensor

from stabledreamer_core.distillation.annealing import learning_rate
from stabledreamer_core.distillation.sample_step import Target
from stabledreamer_core.distillation.variational import LORA_STATE, Loras
from stabledreamer_core.distillation.view_weights import DIRECTIONS
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import check_scene
from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.scene.density import FixedCount, Optimizers, Params, split_largest
from stabledreamer_core.scene.gaussians import KEYS, Splats
from stabledreamer_core.settings.stage import Stage
from stabledreamer_core.tensor_files import load_tensors, save_tensors

MOMENTS = ("exp_avg", "exp_avg_sq")
VIEWS = ("azimuth_deg", "elevation_deg", "viewmats", "Ks")
RATE = r"1\.0|0\.\d{1,17}|\d(\.\d{1,17})?e-\d\d"  # within [0, 1], as Python writes it
TARGET = ("backgrounds", "timesteps", "weight", "x0_hat")


@dataclass
class TrainState:
    """All that the next step depends on, settings, seeds and prior aside.

    The N Gaussians of each of B objects lie one after another in tensors of B N rows.
    """

    params: torch.nn.ParameterDict  # [B N, ...] as gaussians.py describes them
    optimizers: Optimizers  # one Adam a parameter, as gsplat's strategies expect
    strategy: Strategy  # gsplat's interface (scene/density.py)
    strategy_state: dict[str, Any]  # the strategy's own running state
    step: int = 0  # the next one
    rate: float = 1.0  # multiplies every learning rate (guard.py)
    targets: list[Target] = field(default_factory=list)  # kept for later steps, oldest first
    looks: Tensor | None = None  # [B, 2, 8] what targets showed lately (view_weights.py)
    loras: Loras | None = None  # one for each object, under VSD

    @classmethod
    def begin(
        cls, stage: Stage, starts: list[Splats], strategy: Strategy, device: torch.device
    ) -> "TrainState":
        """The state before the first step.

        Args:
            starts: the scenes of B objects, all of one size.
            strategy: density control: ours (`density_strategy`) or one of gsplat's.

        Raises:
            ValueError: a strategy that changes the number of Gaussians, for more than one object.
        """
        if len(starts) > 1 and not isinstance(strategy, FixedCount):
            raise ValueError(f"{type(strategy).__name__} changes each object's size: one at a time")
        split = [split_largest(scene, stage.density.start_count) for scene in starts]
        scenes = {key: torch.cat([scene[key] for scene in split]) for key in KEYS}
        if not stage.anisotropic:
            scenes["scales"] = scenes["scales"].mean(-1, keepdim=True).expand(-1, 3)
        return cls._of(stage, scenes, strategy, device)

    @classmethod
    def load(
        cls, path: Path, stage: Stage, strategy: Strategy, device: torch.device
    ) -> tuple["TrainState", dict[str, str]]:
        """What `save` wrote, and its metadata; the steps from here have the same bits on a CPU.

        Raises:
            UserError: the file is missing, damaged, or holds no such state.
        """
        tensors, metadata = load_tensors(path)
        _check(path, tensors, metadata)
        state = cls._of(stage, tensors, strategy, device)
        state.step, state.rate = int(metadata["step"]), float(metadata["rate"])
        for key, optimizer in state.optimizers.items():
            adam = _strip(tensors, f"adam.{key}.")
            moments = {name: adam[name].to(device) for name in MOMENTS}
            optimizer.state[state.params[key]] = {"step": adam["step"].to(device)} | moments
        for key, value in _strip(tensors, "strategy.").items():
            state.strategy_state[key] = value.to(device)
        if "looks" in tensors:
            state.looks = tensors["looks"].to(device)
        if loras := _strip(tensors, "lora."):
            on_it = {key: value.to(device) for key, value in loras.items()}
            state.loras = Loras.load(stage.variational, on_it)
        kept = _strip(tensors, "target.")
        for index in range(len(kept["Ks"]) if kept else 0):
            one = {key: value[index] for key, value in kept.items()}
            side = round(2.0 * float(one["Ks"][0, 0, 2]))  # the principal point is the middle
            views = Views(**{key: one[key] for key in VIEWS}, resolution=side)
            rest = {key: one[key].to(device) for key in TARGET}
            state.targets.append(Target(views.to(device), **rest))
        return state, metadata

    @classmethod
    def _of(
        cls, stage: Stage, scenes: Splats, strategy: Strategy, device: torch.device
    ) -> "TrainState":
        """Fresh optimisers for the tensors of `scenes` [B N, ...], which are copied."""
        params = torch.nn.ParameterDict(
            {key: torch.nn.Parameter(scenes[key].detach().to(device, copy=True)) for key in KEYS}
        )
        fused = device.type == "cuda" or None
        optimizers: Optimizers = {
            key: torch.optim.Adam(
                [params[key]], lr=1e-3, betas=stage.adam_betas, eps=1e-15, fused=fused
            )
            for key in KEYS
        }
        strategy.check_sanity(params, optimizers)
        return cls(params, optimizers, strategy, strategy.initialize_state())

    def save(self, path: Path, metadata: dict[str, str]) -> None:
        """Write all of it, whole or not at all, with a digest that `load` compares."""
        tensors = {key: self.params[key] for key in KEYS}
        for key, optimizer in self.optimizers.items():
            for name, value in optimizer.state[self.params[key]].items():
                tensors[f"adam.{key}.{name}"] = value
        for key, value in self.strategy_state.items():
            if isinstance(value, Tensor):
                tensors[f"strategy.{key}"] = value
        if self.looks is not None:
            tensors["looks"] = self.looks
        if self.loras is not None:
            tensors |= {f"lora.{key}": value for key, value in self.loras.tensors().items()}
        if self.targets:
            kept = {key: [getattr(one.views, key) for one in self.targets] for key in VIEWS}
            kept |= {key: [getattr(one, key) for one in self.targets] for key in TARGET}
            tensors |= {f"target.{key}": torch.stack(each) for key, each in kept.items()}
        save_tensors(path, tensors, metadata | {"step": f"{self.step}", "rate": f"{self.rate!r}"})

    def set_learning_rates(self, stage: Stage) -> None:
        """Those of the next step, by how much of the stage is done."""
        for key, optimizer in self.optimizers.items():
            rates = getattr(stage.learning_rates, key)
            for group in optimizer.param_groups:
                group["lr"] = self.rate * learning_rate(self.step / stage.iterations, *rates)
        if self.loras is not None:
            self.loras.optimizer.param_groups[0]["lr"] = self.rate * stage.variational.learning_rate

    def learned(self) -> Params:
        """What gradients change, by names: the parameters, and each object's LoRA."""
        loras = self.loras.weights if self.loras is not None else []
        named = {f"lora of object {index}": each for index, each in enumerate(loras)}
        return dict(self.params.items()) | named

    def before_backward(self, info: dict[str, Any]) -> None:
        """The strategy's `step_pre_backward`; `info` is the rasteriser's meta."""
        self.strategy.step_pre_backward(
            self.params, self.optimizers, self.strategy_state, self.step, info
        )

    def after_step(self, info: dict[str, Any], seed: int) -> None:
        """The strategy's `step_post_backward`, with torch's own random numbers drawn from `seed`.

        gsplat's MCMCStrategy also wants the means' learning rate.
        """
        if isinstance(self.strategy, FixedCount):  # draws from generators of its own
            self.strategy.step_post_backward(
                self.params, self.optimizers, self.strategy_state, self.step, info
            )
            return
        rate = {"lr": self.optimizers["means"].param_groups[0]["lr"]}
        extra = rate if isinstance(self.strategy, MCMCStrategy) else {}
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            self.strategy.step_post_backward(
                self.params, self.optimizers, self.strategy_state, self.step, info, **extra
            )

    @property
    def device(self) -> torch.device:
        """Where the Gaussians are."""
        return self.params["means"].device

    def scenes(self, count: int) -> list[Splats]:
        """The scene of each of `count` objects."""
        parts = {key: self.params[key].detach().chunk(count) for key in KEYS}
        return [{key: parts[key][index] for key in KEYS} for index in range(count)]


def _check(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Raise a UserError unless a `TrainState` can be made of these."""
    step, rate = str(metadata.get("step")), str(metadata.get("rate"))
    if not re.fullmatch(r"\d{1,9}", step) or not re.fullmatch(RATE, rate):
        raise UserError(f"checkpoint {path} is damaged: step {step[:20]!r}, rate {rate[:20]!r}")
    check_scene(path, tensors)
    for moment in MOMENTS:
        check_scene(path, tensors, "adam.", f".{moment}")
    if any(tensors[f"adam.{key}.exp_avg"].shape != tensors[key].shape for key in KEYS):
        raise UserError(f"checkpoint {path} is damaged: Adam's moments are of another scene")
    for key in KEYS:
        count = tensors.get(f"adam.{key}.step")
        if count is None or count.shape != () or not count.isfinite():
            raise UserError(f"checkpoint {path} is damaged: adam.{key}.step is missing")
    looks = tensors.get("looks", torch.ones(1, 2, DIRECTIONS))
    if looks.shape[1:] != (2, DIRECTIONS) or not bool(looks.isfinite().all()):
        raise UserError(f"checkpoint {path} is damaged: what its targets showed is not finite")
    lora = _strip(tensors, "lora.")
    shapes = {value.shape for key, value in lora.items() if key != "step"}
    finite = all(bool(value.isfinite().all()) for value in lora.values())
    if lora and (lora.keys() != {*LORA_STATE} or len(shapes) > 1 or not finite):
        raise UserError(f"checkpoint {path} is damaged: its LoRAs are not whole")
    kept = _strip(tensors, "target.").keys()
    if kept and kept != {*VIEWS, *TARGET}:
        raise UserError(f"checkpoint {path} is damaged: of its targets there is only a part")
    Ks = tensors.get("target.Ks", torch.eye(3)[None, None])
    if Ks.ndim != 4 or Ks.shape[2:] != (3, 3) or not 0.0 < float(Ks.abs().max()) < 1e6:
        raise UserError(f"checkpoint {path} is damaged: its targets have no cameras")
    if len({value.shape[:1] for value in _strip(tensors, "target.").values()}) > 1:
        raise UserError(f"checkpoint {path} is damaged: its targets are not equally many")


def _strip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
