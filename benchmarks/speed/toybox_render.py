"""How many Toybox images a second: `python -m benchmarks.speed.toybox_render [device]`.

Prints one line a case: resolution, rays a pixel, images a second (sampling the scenes included),
the best of three runs after one to warm up.
"""

import sys
import time

import torch

from toybox.render import render
from toybox.scenes import Sampler


def images_per_second(sampler: Sampler, batch: int, repeats: int, size: int, samples: int) -> float:
    generator = torch.Generator(sampler.device).manual_seed(0)

    def run() -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            render(sampler.sample(batch, generator), size, samples=samples)
        if sampler.device.type == "cuda":
            torch.cuda.synchronize()
        return batch * repeats / (time.perf_counter() - start)

    run()
    return max(run() for _ in range(3))


def main() -> None:
    default = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(sys.argv[1] if len(sys.argv) > 1 else default)
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {torch.get_num_threads()} cores"
    start = time.perf_counter()
    sampler = Sampler(device, variations=64 if on_gpu else 4)
    print(f"{name}; shapes built in {time.perf_counter() - start:.1f} s")
    for size in (64, 128):
        for samples in (1, 2):
            batch, repeats = (1024, 20) if on_gpu else (32, 2)
            rate = images_per_second(sampler, batch, repeats, size, samples)
            print(f"{size}x{size}, {samples**2} rays a pixel: {rate:,.0f} images/s")


if __name__ == "__main__":
    main()
