"""What many prompts cost, and which part is full first: the queue of a cluster, simulated.

    python -m benchmarks.speed.scale      # prints Markdown; docs/scale.md says what to make of it

Batches of prompts wait for a worker, which is one GPU with its processor cores, and go

    queue ─> database ─> GPU ─> the worker's cores ─> database ─> result store
             (claim)     (stages 1 and 2)  (mesh ...) (the records of each asset)

All workers share database and result store, which serve whoever came first. A GPU waits while
`ahead` of its earlier batches are not stored yet. A worker that fails loses the batch on its GPU,
which goes to the end of the queue, and comes back later. Simulated are batches, not prompts: a
million prompts take seconds. The same seed gives the same. scale.yaml has the figures.
"""

import heapq
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field

SETTINGS = Path(__file__).with_suffix(".yaml")

Positive = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]


class Settings(BaseModel):
    """Typed; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Load(Settings):
    """What one asset asks of each part."""

    batch: int = Field(ge=1)  # assets whose stages 1 and 2 share a GPU
    gpu_seconds: Positive  # of stages 1 and 2, an asset's share of its batch's time
    core_seconds: Amount  # of one processor core: turntable, preview, mesh, evaluation, report
    messages: Amount  # to Prefect's server: HTTP requests, and events over its websocket
    claim_messages: Amount  # the same of a batch, before it is computed
    rows: Amount  # in Prefect's database
    database_bytes: Amount  # in Prefect's database
    stored_bytes: Amount  # of the asset folder and of what is cached for it
    stored_files: Amount  # of the asset folder and of what is cached for it


class Worker(Settings):
    """One GPU, and the share of its machine that goes with it."""

    cores: Positive  # processor cores; an asset's work spreads over them evenly
    failures_per_hour: Amount  # of computing; each loses the batch on the GPU
    restart_seconds: Amount  # from a failure until the worker takes a batch again
    ahead: int = Field(ge=1)  # batches past the GPU but not stored, from which on the GPU waits


class Site(Settings):
    """What all workers of a region share, and how many such regions there are."""

    regions: int = Field(default=1, ge=1)  # each with its part of workers and prompts
    messages_per_second: Positive  # that Prefect's server and its database take
    bytes_per_second: Positive  # into the result store
    files_per_second: Positive  # new ones in the result store


class Scale(Settings):
    """The whole of benchmarks/speed/scale.yaml."""

    seed: int
    prompts: list[int]
    workers: list[int]
    load: Load
    worker: Worker
    sites: dict[str, Site]


class Batch(NamedTuple):
    """Prompts that are computed together."""

    number: int
    size: int
    arrived: float  # seconds


class Outcome(NamedTuple):
    """What one region did, in seconds."""

    makespan: float
    computed: float  # by all GPUs together, lost batches included
    lost: float  # the part of it that failures cost
    failures: int
    mean_wait: float  # from a batch's arrival until its GPU began (for the last time)
    shares: dict[str, float]  # of the makespan that each part was busy, in [0, 1]
    stored: list[int]  # how often each batch reached the result store


class Station:
    """One server, first come, first served; customers must come in the order of time."""

    def __init__(self) -> None:
        self.free_at = self.busy = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When a customer who comes now and needs so long is done."""
        self.free_at = max(now, self.free_at) + seconds
        self.busy += seconds
        return self.free_at


class Simulation:
    """One region: `run` it once."""

    def __init__(
        self, load: Load, worker: Worker, site: Site, workers: int, prompts: int,
        seed: int = 0, prompts_per_second: float | None = None,
    ) -> None:  # fmt: skip
        """Without a rate all prompts are there at the start; else they come as a Poisson process,
        and a batch is there when its last prompt is.
        """
        self.load, self.worker, self.site = load, worker, site
        self.random = Random(seed)
        self.now, self.order, self.failures = 0.0, 0, 0
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.queue: deque[Batch] = deque()
        self.idle = deque(range(workers))
        self.behind = [0] * workers  # batches past the GPU, not yet stored
        self.cores = [Station() for _ in range(workers)]
        self.shared = {name: Station() for name in ("database", "bytes", "files")}
        self.computed = self.lost = self.waited = 0.0
        self.stored = [0] * -(-prompts // load.batch)
        arrival = 0.0
        for number in range(len(self.stored)):
            size = min(load.batch, prompts - number * load.batch)
            if prompts_per_second is not None:
                arrival += self.random.gammavariate(size, 1.0 / prompts_per_second)
            self._at(arrival, self._arrive, Batch(number, size, arrival))

    def run(self) -> Outcome:
        """Until every batch is stored."""
        end = 0.0
        while self.events:
            self.now, _, handle, arguments = heapq.heappop(self.events)
            handle(*arguments)
            end = self.now if handle == self._store else end
        busy = {"gpu": self.computed, "cores": sum(station.busy for station in self.cores)}
        shares = {name: seconds / end / len(self.cores) for name, seconds in busy.items()}
        shares |= {name: station.busy / end for name, station in self.shared.items()}
        figures = self.computed, self.lost, self.failures, self.waited / len(self.stored)
        return Outcome(end, *figures, shares, self.stored)

    def _at(self, time: float, handle: Callable[..., None], *arguments: Any) -> None:
        self.order += 1  # of two events at one time, the one that was planned first
        heapq.heappush(self.events, (time, self.order, handle, arguments))

    def _arrive(self, batch: Batch) -> None:
        self.queue.append(batch)
        self._hand_out()

    def _hand_out(self) -> None:
        """Batches to workers; the claim is the database's first work for a batch."""
        while self.queue and self.idle:
            batch, worker = self.queue.popleft(), self.idle.popleft()
            self._at(self._tell(self.load.claim_messages), self._compute, batch, worker)

    def _tell(self, messages: float) -> float:
        return self.shared["database"].serve(self.now, messages / self.site.messages_per_second)

    def _compute(self, batch: Batch, worker: int) -> None:
        seconds, rate = batch.size * self.load.gpu_seconds, self.worker.failures_per_hour / 3600.0
        fails_after = self.random.expovariate(rate) if rate else float("inf")
        self.computed += min(seconds, fails_after)
        if fails_after < seconds:
            self.lost += fails_after
            self._at(self.now + fails_after, self._fail, batch, worker)
        else:
            self.waited += self.now - batch.arrived
            self._at(self.now + seconds, self._finish, batch, worker)

    def _fail(self, batch: Batch, worker: int) -> None:
        self.failures += 1
        self._at(self.now + self.worker.restart_seconds, self._free, worker)
        self._arrive(batch)

    def _free(self, worker: int) -> None:
        self.idle.append(worker)
        self._hand_out()

    def _finish(self, batch: Batch, worker: int) -> None:
        """The GPU is done; the worker's cores make mesh, pictures and figures."""
        self.behind[worker] += 1
        if self.behind[worker] < self.worker.ahead:
            self._free(worker)
        seconds = batch.size * self.load.core_seconds / self.worker.cores
        self._at(self.cores[worker].serve(self.now, seconds), self._record, batch, worker)

    def _record(self, batch: Batch, worker: int) -> None:
        self._at(self._tell(batch.size * self.load.messages), self._upload, batch, worker)

    def _upload(self, batch: Batch, worker: int) -> None:
        """Bandwidth and new files are two limits of one store; the slower one counts."""
        sent = batch.size * self.load.stored_bytes / self.site.bytes_per_second
        named = batch.size * self.load.stored_files / self.site.files_per_second
        parts = (("bytes", sent), ("files", named))
        done = max(self.shared[part].serve(self.now, seconds) for part, seconds in parts)
        self._at(done, self._store, batch, worker)

    def _store(self, batch: Batch, worker: int) -> None:
        self.stored[batch.number] += 1
        if self.behind[worker] == self.worker.ahead:  # its GPU waited for this
            self._free(worker)
        self.behind[worker] -= 1


def region(scale: Scale, site: Site, workers: int, prompts: int) -> Outcome:
    """One of a site's equal regions; no more regions than workers."""
    regions = min(site.regions, workers)
    ours = workers // regions, -(-prompts // regions)
    return Simulation(scale.load, scale.worker, site, *ours, scale.seed).run()


def full_at(load: Load, worker: Worker, site: Site) -> dict[str, float]:
    """For each part that workers share, how many of them keep it busy all the time.

    Without failures, and counting a worker as fast as the slower of its GPU and its cores.
    """
    most = site.regions * max(load.gpu_seconds, load.core_seconds / worker.cores)
    messages = load.messages + load.claim_messages / load.batch
    needs = {
        "database": messages / site.messages_per_second,
        "bytes": load.stored_bytes / site.bytes_per_second,
        "files": load.stored_files / site.files_per_second,
    }
    return {part: most / need if need else float("inf") for part, need in needs.items()}


def totals(load: Load, prompts: list[int]) -> str:
    """Markdown: what the prompts need, however many workers there are."""
    needs = {
        "GPU hours": load.gpu_seconds / 3600,
        "processor core hours beside them": load.core_seconds / 3600,
        "stored, GB": load.stored_bytes / 1e9,
        "files": load.stored_files,
        "messages to Prefect's server": load.messages + load.claim_messages / load.batch,
        "rows in its database": load.rows,
        "its database, GB": load.database_bytes / 1e9,
    }
    rows = [(name, *(f"{each * n:,.0f}" for n in prompts)) for name, each in needs.items()]
    return table(("", *(f"{count:,} prompts" for count in prompts)), rows)


def limits(scale: Scale) -> str:
    """Markdown: at how many workers each shared part of each site is full."""
    rows = []
    for name, site in scale.sites.items():
        full = full_at(scale.load, scale.worker, site)
        counts = [f"{count:,.0f}" for count in full.values()]
        rows.append((name, *counts, min(full, key=full.__getitem__)))
    return table(("workers until full", *full, "first"), rows)


def runs(scale: Scale, site: Site, prompts: int) -> str:
    """Markdown: a row for each number of workers, simulated."""
    rows = []
    for workers in scale.workers:
        outcome = region(scale, site, workers, prompts)
        hours, shares = outcome.makespan / 3600, outcome.shares
        computed = min(site.regions, workers) * outcome.computed / 3600
        figures = f"{workers:,}", f"{hours:,.2f}", f"{computed:,.0f}", f"{workers * hours:,.0f}"
        percents = (f"{100 * share:.0f}" for share in shares.values())
        rows.append((*figures, *percents, max(shares, key=shares.__getitem__)))
    header = ("workers", "hours", "computed", "held", *(f"{part} %" for part in shares), "fullest")
    return table(header, rows)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read() -> Scale:
    """The settings."""
    return Scale.model_validate(yaml.safe_load(SETTINGS.read_text(encoding="utf-8")))


def main() -> None:
    scale = read()
    print(f"{totals(scale.load, scale.prompts)}\n\n{limits(scale)}")
    for name, site in scale.sites.items():
        for prompts in scale.prompts:
            print(f"\n{name}, {prompts:,} prompts:\n\n{runs(scale, site, prompts)}")


if __name__ == "__main__":
    main()
