"""What a step asks of a prior's networks, timed alone; a loop's time is held against this.

The denoiser without gradient, for every view with and without the prompt; the VAE's encoder there
and back. Eagerly through diffusers' own classes, and as a prior runs them.
"""

import gc
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.speed.architectures import build, read
from stabledreamer_core.priors import Prior
from stabledreamer_core.priors.families import FAMILIES
from stabledreamer_core.priors.models import vae_dtype


def networks_alone(
    name: str, prior: Prior, views: int, embeddings: Tensor, most_s: float
) -> dict[str, float]:
    """Return denoiser_ms, vae_ms and their sum, networks_ms, of networks made for this.

    Args:
        name: of a pipeline in architectures.yaml.
        embeddings: [B, L, D]: the first is of a prompt, the last of none.
        most_s: seconds of each measurement, about.
    """
    row = {"denoiser_ms": time_denoiser(name, prior, views, embeddings, most_s)}
    row["vae_ms"] = time_vae(name, prior, views, most_s) if prior.space == "latent" else 0.0
    gc.collect()
    if prior.device.type == "cuda":
        torch.cuda.empty_cache()
    return row | {"networks_ms": round(row["denoiser_ms"] + row["vae_ms"], 2)}


def time_denoiser(name: str, prior: Prior, views: int, embeddings: Tensor, most_s: float) -> float:
    """Time the denoiser for every view with and without the prompt, without gradient."""
    described, device, dtype = read()["pipelines"][name], prior.device, prior.dtype
    family = FAMILIES[described["index"]["_class_name"]]
    layout = torch.contiguous_format if family.denoiser == "transformer" else torch.channels_last
    network = build(described["components"][family.denoiser], device, dtype)
    network = network.to(memory_format=layout)
    x_t = torch.randn(2 * views, *prior.sample_shape, device=device)
    x_t = x_t.to(dtype, memory_format=layout)
    told = prior.schedule.timesteps[torch.linspace(20, 900, 2 * views).long().to(device)]
    prompts = embeddings[[0] * views + [-1] * views].to(dtype)

    @torch.inference_mode()
    def ask() -> Tensor:
        return family.call(network, x_t, told, prompts)

    if not ask().isfinite().all():
        raise SystemExit("the denoiser's random weights overflow")
    return milliseconds(ask, device, most_s)


def time_vae(name: str, prior: Prior, views: int, most_s: float) -> float:
    """Time the VAE's encoder and the way back to the images."""
    described, half = read()["pipelines"][name], vae_dtype(prior.dtype)
    family = FAMILIES[described["index"]["_class_name"]]
    vae = build(described["components"]["vae"], prior.device, half)
    shape = (views, 3, prior.resolution, prior.resolution)
    images = torch.rand(shape, device=prior.device, requires_grad=True)

    def there_and_back() -> None:
        family.encode(vae, (2 * images - 1).to(half)).float().sum().backward()

    return milliseconds(there_and_back, prior.device, most_s)


def time_prior(prior: Prior, views: int, embeddings: Tensor, most_s: float) -> float:
    """Time the same of a prior's own networks, as it runs them: compiled, or as CUDA graphs."""
    x_t = torch.randn(2 * views, *prior.sample_shape, device=prior.device)
    timesteps = torch.linspace(20, 900, 2 * views).long().to(prior.device)
    prompts = embeddings[[0] * views + [-1] * views]
    shape = (views, 3, prior.resolution, prior.resolution)
    images = torch.rand(shape, device=prior.device, requires_grad=True)

    def ask() -> None:
        if prior.space == "latent":
            prior.encode(images).sum().backward()
        prior.predict_eps(x_t, timesteps, prompts)

    return milliseconds(ask, prior.device, most_s)


def milliseconds(call: Callable[[], object], device: torch.device, most_s: float) -> float:
    """Return the mean time of a call, after two that are not counted; 3 to 20 calls."""
    call()
    once = _timed(call, device)
    count = max(3, min(20, int(most_s / once)))
    spent = _timed(lambda: [call() for _ in range(count)], device)
    return round(1e3 * spent / count, 2)


def _timed(call: Callable[[], object], device: torch.device) -> float:
    wait(device)
    began = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
