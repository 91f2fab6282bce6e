"""How fast the CPU rasteriser is.

    python benchmarks/rasterize.py [--repeats 20] [--resolutions 64 128 512] [--counts 1024 ...]

The scene is that of the feasibility study: Gaussians in a ball of radius .45, scales about .035 at
4,096 of them and falling with the cube root of their number, opacity .1, seen by 4 cameras at
distance 3.2 with 40 degrees of view; pictures with depth ("RGB+ED", antialiased) and the gradients
of everything. Beside each time stand its ratios to

- the dense torch reference in float32, where its memory allows, and
- the memory-bound floor: the bytes that any implementation must move (it reads the Gaussians and
  writes the pictures; going back it reads pictures' gradients and Gaussians and writes the
  Gaussians' gradients) at the copying speed measured in this run.

On a machine that others use, look at the load, at the best rather than the median, and at the
processor time that one thread alone takes: other people's work does not count there.
"""

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable

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
) -> tuple[list[float], list[float]]:
    """Milliseconds of the forward pass, and of both, one number a repeat."""
    viewmats, Ks = ring(resolution)
    forward, both = [], []
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
        forward.append((middle - start) * 1e3)
        both.append((clock() - start) * 1e3)
    return forward[1:], both[1:]  # the first one may compile, or read the cache of compiled code


def processor_time(scene: dict[str, Tensor], resolution: int, repeats: int) -> tuple[float, float]:
    """Milliseconds of processor time with one thread, best of the repeats."""
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        forward, both = measure(scene, resolution, "cpu", repeats, time.thread_time)
    finally:
        numba.set_num_threads(threads)
    return min(forward), min(both)


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


def floor_ms(count: int, resolution: int, speed: float) -> tuple[float, float]:
    gaussians = count * FLOATS_IN * 4
    pictures = CAMERAS * resolution**2 * CHANNELS * 4
    forward = gaussians + pictures
    backward = pictures + 2 * gaussians
    return forward / speed * 1e3, (forward + backward) / speed * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1024, 4096, 20000, 100000])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 128, 512])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument(
        "--dense-entries",
        type=float,
        default=2**26,
        help="largest Gaussians x pixels x cameras for the dense reference (about 50 bytes each)",
    )
    arguments = parser.parse_args()

    speed = copy_speed()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{numba.get_num_threads()} threads, torch {torch.__version__}, numba {numba.__version__}; "
        f"copying {speed / 1e9:.1f} GB/s (read and written); load {os.getloadavg()[0]:.1f}\n"
        f"{CAMERAS} cameras, RGB + expected depth; ms forward / forward and backward, "
        f"of {arguments.repeats} repeats\n"
    )
    titles = ["Gaussians", "pixels", "best", "median", "one thread", "study"]
    titles += ["dense / ours", "ours / floor", "load"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for count in arguments.counts:
        scene = ball(count)
        for resolution in arguments.resolutions:
            times = measure(scene, resolution, "cpu", arguments.repeats)
            load = os.getloadavg()[0]
            best = min(times[0]), min(times[1])
            dense = "-"
            if count * resolution**2 * CAMERAS <= arguments.dense_entries:
                slow = measure(scene, resolution, "reference", 2)
                dense = pair(min(slow[0]) / best[0], min(slow[1]) / best[1], 0)
            floor = floor_ms(count, resolution, speed)
            cells = [
                *(str(count), str(resolution), pair(*best)),
                pair(statistics.median(times[0]), statistics.median(times[1])),
                pair(*processor_time(scene, resolution, max(3, arguments.repeats // 2))),
                pair(*STUDY[count, resolution]) if (count, resolution) in STUDY else "-",
                *(dense, pair(best[0] / floor[0], best[1] / floor[1], 0), f"{load:.1f}"),
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


def pair(forward: float, both: float, digits: int = 1) -> str:
    return f"{forward:.{digits}f} / {both:.{digits}f}"


if __name__ == "__main__":
    main()
