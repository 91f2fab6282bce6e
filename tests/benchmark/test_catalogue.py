"""What the catalogue says that networks take in memory, against the published architectures."""

from functools import cache

import pytest

from benchmarks.speed.architectures import build, count, read
from stabledreamer_core.priors.catalogue import KNOWN, Known

# Where the architectures' file has another name for it; PixArt's network is the same at any size.
NAMES = {
    "pixart-sigma": "pixart-sigma-512",
    "klein": "flux2-klein-4b",
    "sana": "sana-600m-512",
    "prx": "prx-512",
    "prxpixel": "prx-pixel-1024",
}
T5_FLOAT32 = 24 * 4096 * 10240  # parameters of T5-XXL that stay float32 beside float16


@cache
def numbers(component: str) -> int:
    tables = read()["components"][component].get("buffers", False)  # of positions, in the files
    return count(build(component, "meta"), tables)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_sizes_are_those_of_the_published_networks(known: Known) -> None:
    parts = read()["pipelines"][NAMES.get(known.name, known.name)]["components"]
    counted = {"text": 0.0, "vae": 0.0, "denoiser": 0.0}
    for part, component in parts.items():
        kind = "text" if part.startswith("text") else "vae" if part == "vae" else "denoiser"
        counted[kind] += 2 * numbers(component) / 1e9  # bytes of half precision
        if kind == "text" and known.variant == "fp16" and known.kind == "IFPipeline":
            counted[kind] += 2 * T5_FLOAT32 / 1e9
    said = {"text": known.text_gb, "vae": known.vae_gb, "denoiser": known.denoiser_gb}
    for kind, gb in counted.items():
        assert 0.99 * gb <= said[kind] <= 1.05 * gb + 0.1, (kind, gb)
    assert known.disk_gb >= 0.99 * sum(counted.values())
