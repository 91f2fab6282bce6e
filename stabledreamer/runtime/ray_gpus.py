"""Which part of which GPU a suite's task gets, and which process of a Ray cluster does it.

Batches are work for the GPU, and each keeps one core busy; an asset that is past its stages is work
for the cores, and uses the GPU for moments. Both should go on at once. But where something ends,
Ray gives what is free to whatever fits: to new batches, until all are done, or to assets, until too
little is free for a batch; and it fills one GPU before it begins another. So where all GPUs are one
host's, each is reserved as a whole, batches and assets take turns over the GPUs, and there is room
for as many of each as `room_on` says, whatever else runs. Over several hosts Ray places them by
their parts alone: for what was reserved on a host that is lost, tasks would wait in vain.

Ray ends a worker process after one task that holds a part of a GPU, since a process that has used
one GPU stays there whatever it is given next. That is right for stages, and waste for what comes
after them: seconds of work behind ten seconds of imports. So the assets of a GPU have processes of
their own, which stay and do one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import cycle
from math import ceil
from typing import Any, Literal, NamedTuple

Kind = Literal["whole", "batch", "finishing"]
Place = Callable[[Kind, int], dict[str, Any]]

# Parts that Ray places. One batch alone leaves half of a GPU idle, and begins with seconds of
# imports. An asset that is past its stages holds 1.7 GB of its memory.
PARTS: dict[Kind, float] = {"whole": 1.0, "batch": 1 / 4, "finishing": 1 / 40}

BATCHES, ASSETS = 4, 40  # the most at once on a GPU
WAIT_S = 30.0  # for GPUs that another program may hold


class Room(NamedTuple):
    """How many batches and finishing assets a reserved GPU has room for at once."""

    batches: int
    assets: int

    def part(self, kind: Kind) -> float:
        """With these parts, so many of both fit, and one more batch does not."""
        if kind == "batch":
            return 0.9 / self.batches
        return 1_000 // self.assets / 10_000  # Ray rounds to 1/10000


@contextmanager
def places() -> Iterator[Place]:
    """Yield a function that gives Ray's options for a task; GPUs are reserved for the block's time.

    It is given the kind, and how many tasks like this come together (0 if others come later).
    """
    import ray

    hosts = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    hosts = [host for host in hosts if host.get("GPU")]
    gpus, cores = (int(sum(host.get(unit, 0) for host in hosts)) for unit in ("GPU", "CPU"))
    if not gpus:
        yield lambda kind, alike: {"num_cpus": 1}
    elif len(hosts) > 1 or cores < gpus:
        yield lambda kind, alike: anywhere(kind, alike, gpus)
    else:
        with on_one_host(gpus, cores / gpus) as place:
            yield place


@contextmanager
def on_one_host(gpus: int, cores: float) -> Iterator[Place]:
    """As `places`, where one host has all GPUs, and so many cores for each."""
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    room = room_on(cores)
    turns: dict[Kind, cycle[int]] = {kind: cycle(range(gpus)) for kind in PARTS}
    groups: list[Any] = []

    @cache
    def reserved() -> bool:
        groups.append(placement_group([{"GPU": 1, "CPU": room.assets}] * gpus))
        if not groups[0].wait(WAIT_S):
            remove_placement_group(groups.pop())
        return bool(groups)

    def place(kind: Kind, alike: int) -> dict[str, Any]:
        if kind == "whole" or not reserved():
            return anywhere(kind, alike, gpus)
        gpu = next(turns[kind])
        return {
            "num_cpus": 0 if kind == "batch" else 1,
            "num_gpus": room.part(kind),
            **process(kind, gpu),
            "scheduling_strategy": PlacementGroupSchedulingStrategy(groups[0], gpu),
        }

    try:
        yield place
    finally:
        for group in groups:
            remove_placement_group(group)


def room_on(cores: float) -> Room:
    """What a GPU does at once that has so many cores for itself."""
    batches = max(1, min(BATCHES, int(cores / 2)))
    return Room(batches, max(1, min(ASSETS, int(cores) - batches)))


def anywhere(kind: Kind, alike: int, gpus: int) -> dict[str, Any]:
    """Ray's options for a task that it may place where it likes."""
    part = even_part(PARTS[kind], alike, gpus)
    return {"num_cpus": 1, "num_gpus": part, **process(kind)}


def even_part(part: float, alike: int, gpus: int) -> float:
    """A part of a GPU with which few tasks use all GPUs: Ray fills one before it begins another.

    Args:
        part: the least that a task holds.
        alike: tasks that come together; 0 if others come later.
        gpus: how many there are.
    """
    return max(part, 1.0 / ceil(alike / gpus)) if alike else part


def process(kind: Kind, gpu: int | None = None) -> dict[str, Any]:
    """Ray's options that say which processes may do a task: they are told apart by environment."""
    stays = kind == "finishing"
    name = kind if gpu is None else f"{kind}-{gpu}"
    return {
        "max_calls": 0 if stays else 1,  # 0: as many as come
        "runtime_env": {"env_vars": {"STABLEDREAMER_WORKER": name}},
    }
