"""Time a pixel U-Net in batches of 8 against smaller ones: python -m benchmarks.speed.priors

The network has IF's blocks, random weights and the bundled prior's width. Variants take turns, so
that other work on the machine hits all of them; the least of each is printed: elapsed time, and
processor time, which other work disturbs less.
"""

import argparse
import time

import torch

from toybox.training.models import pixel_unet
from toybox.training.settings import SETTINGS, load_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    settings = load_training(SETTINGS).pixel
    unet = pixel_unet(settings).eval().to(memory_format=torch.channels_last)
    x = torch.randn(arguments.batch, 3, settings.resolution, settings.resolution)
    x = x.contiguous(memory_format=torch.channels_last)
    timesteps = torch.randint(0, 1000, (arguments.batch,))
    embeddings = torch.randn(arguments.batch, 77, settings.text.width)

    elapsed: dict[int, list[float]] = {}
    spent: dict[int, list[float]] = {}
    with torch.inference_mode():
        for _ in range(arguments.repeats):
            for chunk in (8, 4, 2, 1):
                began, used = time.perf_counter(), time.process_time()
                for rows in torch.arange(arguments.batch).split(chunk):
                    unet(x[rows], timesteps[rows], encoder_hidden_states=embeddings[rows])
                elapsed.setdefault(chunk, []).append(time.perf_counter() - began)
                spent.setdefault(chunk, []).append(time.process_time() - used)
    for chunk in elapsed:
        least, cpu = min(elapsed[chunk]) * 1e3, min(spent[chunk]) * 1e3
        print(f"batch {arguments.batch} in chunks of {chunk}: {least:.0f} ms, processor {cpu:.0f}")


if __name__ == "__main__":
    main()
