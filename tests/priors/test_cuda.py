"""The same prior on a GPU: close to the CPU, in half precision too, and its memory given back."""

from pathlib import Path

import pytest
import torch

from stabledreamer_core.distillation.denoise import sample
from stabledreamer_core.priors import Prior, load_prior

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


def eps_of(prior: Prior) -> torch.Tensor:
    x_t = torch.randn(4, *prior.sample_shape, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([10, 300, 600, 990])
    embeddings = prior.embed(["a red bear, front view"]).repeat(4, 1, 1)
    return prior.predict_eps(x_t.to(prior.device), timesteps.to(prior.device), embeddings).cpu()


@pytest.mark.parametrize(
    ("name", "variant", "tolerance"),
    [("tiny_if", None, 5e-3), ("tiny_sd", None, 5e-3), ("tiny_if_half", "fp16", 5e-2)],
)
def test_eps_is_the_cpus(name: str, variant: str | None, tolerance: float, request) -> None:
    folder = str(request.getfixturevalue(name))
    cpu = load_prior(folder, variant=variant)
    gpu = load_prior(folder, variant=variant, device="cuda")
    assert gpu.dtype == (torch.float16 if variant else torch.float32)
    truth = eps_of(cpu)
    assert (eps_of(gpu) - truth).norm() < tolerance * truth.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 5e-3), ("float16", 5e-2)])
def test_latents_are_the_cpus(tiny_sd: Path, dtype: str, tolerance: float) -> None:
    images = torch.rand(2, 3, 32, 32)
    truth = load_prior(str(tiny_sd)).encode(images)
    on_gpu = images.cuda().requires_grad_()
    latents = load_prior(str(tiny_sd), device="cuda", dtype=dtype).encode(on_gpu)
    assert (latents.cpu() - truth).norm() < tolerance * truth.norm()
    latents.sum().backward()
    assert on_gpu.grad is not None and on_gpu.grad.isfinite().all()


def test_the_text_encoder_leaves_the_gpu(tiny_if: Path) -> None:
    prior = load_prior(str(tiny_if), device="cuda")
    before = torch.cuda.memory_allocated()
    embeddings = prior.embed(["a bear", ""])
    kept = embeddings.element_size() * embeddings.numel()
    assert torch.cuda.memory_allocated() - before <= kept + 4096


def test_samples(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd), device="cuda")
    cond, uncond = prior.embed(["a bear", ""]).split(1)
    images = sample(prior, cond, uncond, 5.0, 4, torch.Generator().manual_seed(0))
    assert images.shape == (1, 3, 32, 32) and images.isfinite().all()
