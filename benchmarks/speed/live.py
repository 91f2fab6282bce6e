"""What `--live` costs: the same stages with and without it, in turn, with a page that asks.

    python -m benchmarks.speed.live --pairs 3 --set stage1.iterations=200

Prints each pair's seconds and processor seconds, the ratios, and whether the bits are equal. Under
load the processor's seconds say more: they count what this program did, not what others made it
wait.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from stabledreamer.runtime import live
from stabledreamer.runtime.progress import headline
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.optimization.stage import run_stage
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import STAGES

BROWSER = """
import json, sys, time, urllib.request
def get(name):
    return urllib.request.urlopen(sys.argv[1] + name, timeout=5).read()
seen = None
while True:  # as the page's script does
    state = json.loads(get("state"))
    if "views" in state and state["version"] != seen:
        for name in ("object", "render-0", "x0_hat-0", "render-1", "x0_hat-1"):
            get(name + ".jpg")
    seen = state["version"]
    time.sleep(1)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--prompt", default="a red bear wearing a top hat")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = load_config(overrides=arguments.set)
    run(config, arguments.prompt, watched=True)  # compiles kernels, fills caches
    ratios: dict[str, list[float]] = {"seconds": [], "processor": []}
    for pair in range(arguments.pairs):
        order = (False, True) if pair % 2 else (True, False)
        found = {watched: run(config, arguments.prompt, watched) for watched in order}
        (plain, *without), (seen, *with_it) = found[False], found[True]
        equal = all(torch.equal(plain[key], seen[key]) for key in plain)
        for name, a, b in zip(ratios, without, with_it, strict=True):
            ratios[name].append(b / a)
        print(
            f"pair {pair + 1}: without {without[0]:.1f} s ({without[1]:.1f} of the processor), "
            f"live {with_it[0]:.1f} s ({with_it[1]:.1f}), bits {'equal' if equal else 'DIFFER'}",
            flush=True,
        )
    for name, values in ratios.items():
        print(
            f"{name}: ratio {statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"
        )


def run(config: Config, prompt: str, watched: bool) -> tuple[Splats, float, float]:
    """The result of both stages, their seconds, and the processor's."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        page = live.live_page(prompt, 0, out, None) if watched else nullcontext("")
        with page as url:
            browser = subprocess.Popen([sys.executable, "-c", BROWSER, url]) if url else None
            began, worked = time.monotonic(), time.process_time()
            splats = None
            for name in STAGES:
                stage = config.stage(name)
                splats = run_stage(
                    *(config, name, prompt, 0, splats),
                    base=ROOT,
                    cache_dir=EMBEDDINGS,
                    observe=live.watch(headline(name, stage), stage, config.turntable, out),
                ).splats
            took = time.monotonic() - began, time.process_time() - worked
            if browser:
                browser.kill()
                browser.wait()
    assert splats is not None
    return splats, *took


if __name__ == "__main__":
    main()
