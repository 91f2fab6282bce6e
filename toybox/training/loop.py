"""The training loop that all parts share: the priors', the autoencoder's and the judge's.

Training runs in slices: a slice ends after its minutes, saves everything, and the next one goes on
with the same bits as if there had been no break. On several GPUs (torchrun) each takes its own
batch and the gradients are averaged.
"""

import copy
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from toybox.training.settings import Optim
from toybox.training.state import Counters, load_state, save_state

Losses = dict[str, Tensor]
LOG_FILE = "log.jsonl"
RESERVE_S = 15.0  # kept for the last save and export of a slice


@dataclass(frozen=True)
class Slice:
    """How long this process may train, and where it keeps its state."""

    work: Path
    """Folder of the training state and the log."""
    deadline: float | None = None
    """`time.monotonic()` at which the slice must have ended; None: no limit."""
    later_s: float | None = None
    """Seconds of training planned after this slice: the schedule is then stretched to end when
    they do, from the measured rate. None: the schedule ends at `optim.steps`."""


@dataclass(frozen=True)
class Task:
    """One training: what is trained, its loss, and how the averaged weights are written."""

    model: nn.Module
    loss: Callable[[int, torch.Generator], Losses]
    """(step, generator seeded for that step) -> scalars; "loss" is minimised."""
    export: Callable[[nn.Module, Counters], None]
    """Writes the averaged model; called every `export_every_s` and at the end."""
    fingerprint: str
    """Hash of the settings (state.fingerprint)."""
    seed: int


def train(task: Task, optim: Optim, slice_: Slice, device: torch.device) -> Counters:
    """Train until the schedule or the slice ends; returns where the training stands."""
    # 1. The model, its average, the optimiser; go on from a saved state if there is one.
    rank, world = _rank_and_world()
    model, average = task.model, copy.deepcopy(task.model).requires_grad_(False)
    parameters = list(model.parameters())
    optimiser = _adamw(model, optim, device)
    counters = load_state(slice_.work, model, average, optimiser, task.fingerprint)
    counters = counters or Counters(total_steps=optim.steps)
    if slice_.later_s is None:
        counters.total_steps = optim.steps
    start, first_step = time.monotonic(), counters.step
    log = Log(slice_, optim.batch * world, rank, start)
    generator = torch.Generator(device)

    # 2. Step after step, waiting for the device only to write the log.
    while counters.step < counters.total_steps:
        generator.manual_seed((task.seed * 100_003 + counters.step) * 64 + rank)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(counters.step, counters.total_steps, optim)
        losses = task.loss(counters.step, generator)
        losses["loss"].backward()
        if world > 1:
            average_gradients(parameters, world)
        nn.utils.clip_grad_norm_(parameters, optim.grad_clip)
        optimiser.step()
        optimiser.zero_grad()
        update_average(average, parameters, counters.step, optim.ema_decay)
        counters.step += 1
        log.add(losses)

        # 3. Now and then: the log, the schedule, a saved state, an export, the end of the slice.
        if counters.step % optim.log_every and counters.step != first_step + 1:
            continue
        log.write(counters, optimiser.param_groups[0]["lr"])
        if _out_of_time(slice_, counters, log.seconds_a_step, device, world):
            break
        if rank == 0 and log.due("save", optim.save_every_s):
            save_state(slice_.work, model, average, optimiser, counters, task.fingerprint)
        if rank == 0 and log.due("export", optim.export_every_s):
            task.export(average, counters)

    # 4. Leave everything on disk.
    if rank == 0:
        counters.train_seconds += log.since_last_line()
        save_state(slice_.work, model, average, optimiser, counters, task.fingerprint)
        task.export(average, counters)
    return counters


def learning_rate(step: int, total_steps: int, optim: Optim) -> float:
    """Linear warm-up, a plateau, and a straight fall to `final_lr` of it over the cool-down."""
    warm = min(1.0, (step + 1) / max(optim.warmup_steps, 1))
    left = max(total_steps - step, 0) / max(optim.cooldown * total_steps, 1.0)
    return optim.lr * warm * (optim.final_lr + (1.0 - optim.final_lr) * min(1.0, left))


@torch.no_grad()
def update_average(
    average: nn.Module, parameters: list[nn.Parameter], step: int, ceiling: float
) -> None:
    """average += (1 - d) (weights - average) with d = min(ceiling, (1 + step) / (10 + step))."""
    decay = min(ceiling, (1.0 + step) / (10.0 + step))
    torch._foreach_lerp_(list(average.parameters()), list[Tensor](parameters), 1.0 - decay)


def average_gradients(parameters: list[nn.Parameter], world: int) -> None:
    """Replace every gradient by its mean over the processes, in one message."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients]) / world
    dist.all_reduce(flat)
    pieces = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(pieces, gradients, strict=True)])


class Log:
    """Means of the losses since the last line, the rate, and what is due."""

    def __init__(self, slice_: Slice, images_a_step: int, rank: int, start: float) -> None:
        self.path, self.rank = slice_.work / LOG_FILE, rank
        self.images_a_step = images_a_step
        self.sums: Losses = {}
        self.count = 0
        self.last = start
        self.done = {"save": start, "export": start}
        self.lines = 0
        self.timed_steps, self.timed_s = 0, 0.0
        self.seconds_a_step = 0.0
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, losses: Losses) -> None:
        """Remember one step's losses, on the device."""
        self.count += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float()

    def write(self, counters: Counters, lr: float) -> None:
        """One line to the screen and to log.jsonl; stops a training whose loss is not finite."""
        means = {name: float(value) / self.count for name, value in self.sums.items()}
        now = time.monotonic()
        seconds, self.last = now - self.last, now
        counters.train_seconds += seconds
        if self.lines:  # the first line holds the compilation
            self.timed_steps, self.timed_s = self.timed_steps + self.count, self.timed_s + seconds
            self.seconds_a_step = self.timed_s / self.timed_steps
        rate = self.images_a_step * self.count / seconds
        self.lines, self.count, self.sums = self.lines + 1, 0, {}
        if not all(math.isfinite(value) for value in means.values()):
            raise RuntimeError(f"step {counters.step}: the loss is not finite: {means}")
        if self.rank:
            return
        line = {"step": counters.step, "total": counters.total_steps, "lr": lr, "images_s": rate}
        line |= {"seconds": counters.train_seconds, **means}
        with open(self.path, "a") as file:
            file.write(
                json.dumps({key: float(f"{value:.5g}") for key, value in line.items()}) + "\n"
            )
        text = "  ".join(f"{name} {value:.5f}" for name, value in means.items())
        print(
            f"[{self.path.parent.name}] {counters.step}/{counters.total_steps}  {text}  "
            f"lr {lr:.2e}  {rate:.0f} images/s  {counters.train_seconds:.0f} s",
            flush=True,
        )

    def due(self, what: str, every_s: float) -> bool:
        """Whether `every_s` seconds have passed since `what` was last due."""
        now = time.monotonic()
        if now - self.done[what] < every_s:
            return False
        self.done[what] = now
        return True

    def since_last_line(self) -> float:
        """Seconds that no line has counted yet."""
        return time.monotonic() - self.last if self.count else 0.0


def _out_of_time(
    slice_: Slice, counters: Counters, seconds_a_step: float, device: torch.device, world: int
) -> bool:
    """Whether the slice is over; also stretches a schedule that is given in minutes.

    The first process decides for all, so that none waits for one that has stopped.
    """
    left = math.inf if slice_.deadline is None else slice_.deadline - RESERVE_S - time.monotonic()
    if slice_.later_s is not None and seconds_a_step > 0.0 and math.isfinite(left):
        counters.total_steps = counters.step + int((max(left, 0) + slice_.later_s) / seconds_a_step)
    decision = [float(left <= 0.0), float(counters.total_steps)]
    if world > 1:
        shared = torch.tensor(decision, device=device)
        dist.broadcast(shared, 0)
        decision = shared.tolist()
    counters.total_steps = int(decision[1])
    return bool(decision[0])


def _adamw(model: nn.Module, optim: Optim, device: torch.device) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels alone."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": optim.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=optim.lr, betas=(0.9, 0.99), fused=device.type == "cuda")


def _rank_and_world() -> tuple[int, int]:
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def start_processes(device: torch.device) -> None:
    """Join the other processes if torchrun started this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def end_processes() -> None:
    """Leave them again."""
    if dist.is_initialized():
        dist.destroy_process_group()
