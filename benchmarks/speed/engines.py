"""How fast a prior's UNet is under each engine and arithmetic, on a CPU.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.engines \\
        [--threads 1] [--rounds 12] [--batches 1 2 4 8]

Every round calls each way once, beginning with another one each time; a ratio is the median over
rounds of torch's float32 time to that way's time in the same round, so whatever slows the machine
for a while slows both. `processor` is the time spent by the process's own threads, which other
people's work on the machine hardly touches. `error` is norm-relative, against torch in float64.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from stabledreamer_core.priors import Prior, load_prior

WAYS = [("torch", "float32"), ("torch", "bfloat16"), ("openvino", "float32")]
WAYS += [("openvino", "bfloat16")]
Way = tuple[str, str]
Case = tuple[Tensor, Tensor, Tensor]


def questions(prior: Prior, batch: int) -> Case:
    """Noise, timesteps, and the embeddings of a prompt and of none in turn, as guidance asks."""
    random = torch.Generator().manual_seed(batch)
    embeddings = prior.embed(["a red bear, front view", ""])[torch.arange(batch) % 2]
    timesteps = torch.randint(20, 980, (batch,), generator=random)
    return torch.randn(batch, *prior.sample_shape, generator=random), timesteps, embeddings


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and by the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - processor


def measure(priors: dict[Way, Prior], case: Case, rounds: int) -> dict[Way, list]:
    """[rounds] of `timed` for each way, interleaved."""
    for prior in priors.values():
        prior.predict_eps(*case)
    times: dict[Way, list] = {way: [] for way in priors}
    order = itertools.cycle(priors)
    for _ in range(rounds):
        for way in itertools.islice(order, len(priors)):
            times[way].append(timed(lambda way=way: priors[way].predict_eps(*case)))
        next(order)
    return times


def report(source: str, batches: list[int], rounds: int) -> None:
    priors = {
        (engine, dtype): load_prior(source, engine=engine, dtype=dtype, chunk=0)
        for engine, dtype in WAYS
    }
    for batch in batches:
        case = questions(priors[WAYS[0]], batch)
        truth = load_prior(source, dtype="float64", chunk=0).predict_eps(*map(_double, case))
        times = measure(priors, case, rounds)
        for way, spent in times.items():
            error = (priors[way].predict_eps(*case) - truth).norm() / truth.norm()
            columns = []
            for kind in (0, 1):
                ms = [1e3 * pair[kind] for pair in spent]
                pairs = zip(times[WAYS[0]], spent, strict=True)
                ratio = statistics.median(base[kind] / own[kind] for base, own in pairs)
                columns.append(f"{statistics.median(ms):7.1f} {min(ms):7.1f} {ratio:6.2f}")
            print(f"{source:18} {batch:2} {' '.join(way):18}", *columns, f"{error:9.1e}", sep="  ")


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--priors", nargs="+", default=["priors/toybox-if", "priors/toybox-sd"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads; median and best in ms, ratio to torch float32")
    print(f"{'':42}  {'clock':^22}  {'processor':^22}      error")
    for source in arguments.priors:
        report(source, arguments.batches, arguments.rounds)


if __name__ == "__main__":
    main()
