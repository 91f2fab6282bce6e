"""How fast the CPU rasteriser is.

    python -m benchmarks.speed.rasterize \\
        [--rounds 3] [--repeats 7] [--counts 1024 ...] [--resolutions 64]

The scene is that of the feasibility study: Gaussians in a ball of radius .45, scales about .035 at
4,096 of them and falling with the cube root of their number, opacity .1, seen by 4 cameras at
distance 3.2 with 40 degrees of view; pictures with depth ("RGB+ED", antialiased) and the gradients
of everything. Beside each time stand its ratios to

- the dense torch reference in float32, where its memory allows, and
- the memory-bound floor: the bytes that any implementation must move (it reads the Gaussians and
  writes the pictures; going back it reads pictures' gradients and Gaussians and writes the
  Gaussians' gradients) at the copying speed measured in this run.

On a machine that others use, take more rounds (each visits every size once) and give it patience:
each visit then waits up to so many seconds for a moment in which nothing else runs (Linux). Look at
the best rather than the median, and at the processor time that one thread alone takes: other
people's work does not count there.
"""

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numba
import torch
from torch import Tensor

from stabledreamer_core.rasterize import rasterization

CAMERAS = 4
STUDY = {  # ms forward, forward and backward: the feasibility study's machine, 2 cores
    (1024, 64): (4.0, 9.6),
    (1024, 128): (8.9, 22),
    (1024, 512): (91, 256),
    (4096, 64): (7.8, 18),
    (4096, 128): (15, 35),
    (4096, 512): (118, 328),
    (20000, 64): (17, 37),
    (20000, 128): (30, 66),
    (20000, 512): (171, 437),
    (100000, 64): (62, 131),
    (100000, 128): (85, 183),
    (100000, 512): (301, 719),
}
FLOATS_IN = 3 + 4 + 3 + 1 + 3  # means, quats, scales, opacities, colors
CHANNELS = 4 + 1  # r, g, b, depth, alpha

Times = tuple[float, float]  # forward, forward and backward


def ball(count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(count, 3, generator=generator)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    radii = 0.45 * torch.rand(count, 1, generator=generator) ** (1 / 3)
    scale = 0.035 * (4096 / count) ** (1 / 3)
    values = {
        "means": directions * radii,
        "quats": torch.randn(count, 4, generator=generator),
        "scales": scale * (0.5 + torch.rand(count, 3, generator=generator)),
        "opacities": torch.full((count,), 0.1),
        "colors": torch.rand(count, 3, generator=generator),
    }
    return {name: value.requires_grad_() for name, value in values.items()}


def ring(resolution: int) -> tuple[Tensor, Tensor]:
    elevation, viewmats = math.radians(15), torch.eye(4).repeat(CAMERAS, 1, 1)
    for index in range(CAMERAS):
        a = 2 * math.pi * index / CAMERAS
        out = torch.tensor(
            [
                math.cos(elevation) * math.cos(a),
                math.cos(elevation) * math.sin(a),
                math.sin(elevation),
            ]
        )
        right = torch.tensor([-math.sin(a), math.cos(a), 0.0])
        rotation = torch.stack([right, torch.linalg.cross(-out, right), -out])
        viewmats[index, :3, :3], viewmats[index, :3, 3] = rotation, -rotation @ (3.2 * out)
    focal = 0.5 * resolution / math.tan(math.radians(20))
    K = torch.tensor([[focal, 0, resolution / 2], [0, focal, resolution / 2], [0, 0, 1]])
    return viewmats, K.repeat(CAMERAS, 1, 1)


def measure(
    scene: dict[str, Tensor],
    resolution: int,
    backend: str,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Times]:
    """Milliseconds of the forward pass, and of both, one pair a repeat."""
    viewmats, Ks = ring(resolution)
    times = []
    for _ in range(repeats + 1):
        for value in scene.values():
            value.grad = None
        start = clock()
        renders, alphas, _ = rasterization(
            **scene,
            viewmats=viewmats,
            Ks=Ks,
            width=resolution,
            height=resolution,
            render_mode="RGB+ED",
            backend=backend,
        )
        middle = clock()
        torch.autograd.backward(
            [renders, alphas], [torch.ones_like(renders), torch.ones_like(alphas)]
        )
        times.append(((middle - start) * 1e3, (clock() - start) * 1e3))
    return times[1:]  # the first one may compile, or read the cache of compiled code


def processor_time(scene: dict[str, Tensor], resolution: int, repeats: int) -> list[Times]:
    """Milliseconds of processor time with one thread."""
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        return measure(scene, resolution, "cpu", repeats, time.thread_time)
    finally:
        numba.set_num_threads(threads)


def wait_for_quiet(patience: float) -> None:
    """Return when this is the only process that runs, or when patience is at its end."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        running = Path("/proc/loadavg").read_text().split()[3]
        if running.startswith("1/"):
            return
        time.sleep(0.05)


def copy_speed() -> float:
    """Bytes read and written a second, by torch's own copy with all threads; best of 10."""
    source = torch.zeros(64 * 2**20)
    target = torch.empty_like(source)

    def seconds(action: Callable[[], object]) -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    best = min(seconds(lambda: target.copy_(source)) for _ in range(10))
    return 2 * source.numel() * 4 / best


def floor_ms(count: int, resolution: int, speed: float) -> Times:
    gaussians = count * FLOATS_IN * 4
    pictures = CAMERAS * resolution**2 * CHANNELS * 4
    forward = gaussians + pictures
    backward = pictures + 2 * gaussians
    return forward / speed * 1e3, (forward + backward) / speed * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1024, 4096, 20000, 100000])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128, 512])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7, help="a round and size")
    parser.add_argument("--patience", type=float, default=0.0, help="seconds, for each visit")
    parser.add_argument(
        "--dense-entries",
        type=float,
        default=2**26,
        help="largest Gaussians x pixels x cameras for the dense reference (about 50 bytes each)",
    )
    arguments = parser.parse_args()

    sizes = [(n, r) for n in arguments.counts for r in arguments.resolutions]
    scenes = {count: ball(count) for count in arguments.counts}
    ours: dict[tuple[int, int], list[Times]] = {size: [] for size in sizes}
    alone: dict[tuple[int, int], list[Times]] = {size: [] for size in sizes}
    dense: dict[tuple[int, int], list[Times]] = {size: [] for size in sizes}
    speed, loads = 0.0, []
    for _ in range(arguments.rounds):
        speed = max(speed, copy_speed())
        for count, resolution in sizes:
            scene, size = scenes[count], (count, resolution)
            wait_for_quiet(arguments.patience)
            ours[size] += measure(scene, resolution, "cpu", arguments.repeats)
            alone[size] += processor_time(scene, resolution, 3)
            if count * resolution**2 * CAMERAS <= arguments.dense_entries:
                dense[size] += measure(scene, resolution, "reference", 1)
            loads.append(os.getloadavg()[0])

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {numba.get_num_threads()} threads, "
        f"torch {torch.__version__}, numba {numba.__version__}; copying {speed / 1e9:.1f} GB/s "
        f"(read and written); load {min(loads):.1f} to {max(loads):.1f}\n"
        f"{CAMERAS} cameras, RGB + expected depth; ms forward / forward and backward, of "
        f"{arguments.rounds} x {arguments.repeats}\n"
    )
    titles = ["Gaussians", "pixels", "best", "median", "one thread", "study"]
    titles += ["dense / ours", "ours / floor"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for size in sizes:
        best, floor = fastest(ours[size]), floor_ms(*size, speed)
        cells = [
            *(str(size[0]), str(size[1]), pair(best)),
            pair(tuple(statistics.median(column) for column in zip(*ours[size], strict=True))),
            pair(fastest(alone[size])),
            pair(STUDY[size]) if size in STUDY else "-",
            pair(ratio(fastest(dense[size]), best), 0) if dense[size] else "-",
            pair(ratio(best, floor), 0),
        ]
        print(f"| {' | '.join(cells)} |")


def fastest(times: list[Times]) -> Times:
    return min(forward for forward, _ in times), min(both for _, both in times)


def ratio(a: Times, b: Times) -> Times:
    return a[0] / b[0], a[1] / b[1]


def pair(times: tuple[float, ...], digits: int = 1) -> str:
    return " / ".join(f"{time:.{digits}f}" for time in times)


if __name__ == "__main__":
    main()
