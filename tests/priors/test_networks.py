"""predict_eps, encode and decode against the pipelines' own networks."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, IFPipeline, StableDiffusionPipeline, UNet2DConditionModel

from stabledreamer_core.priors import Prior, load_prior

PIPELINES = {"tiny_if": IFPipeline, "tiny_sd": StableDiffusionPipeline}
TIMESTEPS = torch.tensor([0, 20, 400, 700, 999])


def inputs(prior: Prior, count: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x_t, timesteps and embeddings of different prompts."""
    x_t = torch.randn(count, *prior.sample_shape, generator=torch.Generator().manual_seed(3))
    embeddings = prior.embed(["a red bear, front view", "", "a blue hat"])
    return x_t, TIMESTEPS[:count], embeddings[torch.arange(count) % 3]


def test_shapes_come_from_the_files(tiny_if: Path, tiny_sd: Path) -> None:
    pixel, latent = load_prior(str(tiny_if)), load_prior(str(tiny_sd))
    assert (pixel.space, pixel.resolution, pixel.sample_shape) == ("pixel", 16, (3, 16, 16))
    assert (latent.space, latent.resolution, latent.sample_shape) == ("latent", 32, (4, 8, 8))


@pytest.mark.parametrize("name", PIPELINES)
def test_the_noise_schedule_is_the_pipelines(name: str, request) -> None:
    folder = request.getfixturevalue(name)
    scheduler = PIPELINES[name].from_pretrained(folder).scheduler
    abar, schedule = scheduler.alphas_cumprod, load_prior(str(folder)).schedule
    assert torch.equal(schedule.alphas, abar.sqrt())
    assert torch.equal(schedule.sigmas, (1 - abar).sqrt())


@pytest.mark.parametrize("name", PIPELINES)
def test_predict_eps_is_the_unets_answer(name: str, request) -> None:
    folder = request.getfixturevalue(name)
    prior = load_prior(str(folder))
    x_t, timesteps, embeddings = inputs(prior)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    with torch.no_grad():
        truth = unet(x_t, timesteps, encoder_hidden_states=embeddings).sample
    assert truth.shape[1] == {"tiny_if": 6, "tiny_sd": 4}[name]  # IF's last three: the variance
    eps = prior.predict_eps(x_t, timesteps, embeddings)
    assert eps.shape == x_t.shape
    torch.testing.assert_close(eps, truth[:, : x_t.shape[1]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8])
def test_chunks_change_nothing_but_rounding(name: str, chunk: int, request) -> None:
    folder = str(request.getfixturevalue(name))
    whole, parts = load_prior(folder, chunk=0), load_prior(folder, chunk=chunk)
    case = inputs(whole)
    difference = parts.predict_eps(*case) - whole.predict_eps(*case)
    assert difference.abs().max() < 2e-5


@pytest.mark.parametrize("name", PIPELINES)
def test_the_same_question_has_the_same_bits(name: str, request) -> None:
    folder = str(request.getfixturevalue(name))
    first, second = load_prior(folder), load_prior(folder)
    case = inputs(first)
    eps = first.predict_eps(*case)
    first.release()
    assert torch.equal(eps, first.predict_eps(*case))
    assert torch.equal(eps, second.predict_eps(*case))


def test_eps_can_be_the_target_of_a_loss(tiny_if: Path) -> None:
    prior = load_prior(str(tiny_if))
    x_t, timesteps, embeddings = inputs(prior)
    x = x_t.clone().requires_grad_()
    eps = prior.predict_eps(x, timesteps, embeddings)
    assert not eps.requires_grad
    ((x - eps) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, 2 * (x_t - eps))


def test_half_precision_files_run_in_float32_on_a_cpu(tiny_if_half: Path) -> None:
    prior = load_prior(str(tiny_if_half), variant="fp16")
    assert prior.dtype == torch.float32
    x_t, timesteps, embeddings = inputs(prior)
    unet = UNet2DConditionModel.from_pretrained(tiny_if_half / "unet", variant="fp16")
    with torch.no_grad():
        truth = unet.float()(x_t, timesteps, encoder_hidden_states=embeddings).sample
    eps = prior.predict_eps(x_t, timesteps, embeddings)
    torch.testing.assert_close(eps, truth[:, :3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_arithmetic_comes_close(tiny_sd: Path, dtype: str) -> None:
    full, half = load_prior(str(tiny_sd)), load_prior(str(tiny_sd), dtype=dtype)
    x_t, timesteps, embeddings = inputs(full)
    eps = half.predict_eps(x_t, timesteps, half.embed(["a red bear, front view"]).repeat(5, 1, 1))
    truth = full.predict_eps(x_t, timesteps, embeddings[:1].repeat(5, 1, 1))
    assert eps.dtype == torch.float32
    assert (eps - truth).norm() < 0.03 * truth.norm()

    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    latents = half.encode(images)
    assert half._network("vae").dtype == torch.bfloat16  # float16 overflows in SD's encoder
    assert latents.dtype == torch.float32
    assert (latents - full.encode(images)).norm() < 0.05 * latents.norm()
    latents.sum().backward()
    assert images.grad is not None and images.grad.isfinite().all()


def test_encode_is_the_scaled_mean_of_the_posterior(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    vae = AutoencoderKL.from_pretrained(tiny_sd / "vae")
    with torch.no_grad():
        truth = vae.encode(images * 2 - 1).latent_dist.mean * vae.config["scaling_factor"]
        latents = prior.encode(images)
        torch.testing.assert_close(latents, truth, rtol=1e-4, atol=1e-6)
        decoded = vae.decode(truth / vae.config["scaling_factor"]).sample / 2 + 0.5
        torch.testing.assert_close(prior.decode(latents), decoded.clamp(0, 1), atol=1e-5, rtol=1e-4)


def test_encode_honours_a_shift(tiny_sd: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sd, tmp_path / "shifted")
    config = json.loads((folder / "vae/config.json").read_text())
    (folder / "vae/config.json").write_text(json.dumps(config | {"shift_factor": 0.25}))
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        plain, shifted = load_prior(str(tiny_sd)), load_prior(str(folder))
        difference = plain.encode(images) - shifted.encode(images)
        torch.testing.assert_close(difference, torch.full_like(difference, 0.25 * 0.18215))
        assert torch.allclose(
            plain.decode(plain.encode(images)), shifted.decode(shifted.encode(images)), atol=1e-5
        )


@pytest.mark.parametrize("name", PIPELINES)
def test_gradient_of_encode_by_finite_differences(name: str, request) -> None:
    prior = load_prior(str(request.getfixturevalue(name)), dtype="float64")
    random = torch.Generator().manual_seed(5)
    size = prior.resolution
    images = torch.rand(1, 3, size, size, generator=random, dtype=torch.float64)
    weight = torch.randn(1, *prior.sample_shape, generator=random, dtype=torch.float64)
    images.requires_grad_()
    (gradient,) = torch.autograd.grad((prior.encode(images) * weight).sum(), images)
    for _ in range(3):
        way = torch.randn(images.shape, generator=random, dtype=torch.float64)
        with torch.no_grad():
            ahead = (prior.encode(images + 1e-5 * way) * weight).sum()
            behind = (prior.encode(images - 1e-5 * way) * weight).sum()
        slope = (ahead - behind) / 2e-5
        torch.testing.assert_close((gradient * way).sum(), slope, rtol=1e-6, atol=1e-9)


def test_pixels_come_back_from_the_pixel_prior(tiny_if: Path) -> None:
    prior = load_prior(str(tiny_if))
    images = torch.rand(2, 3, 16, 16)
    x = prior.encode(images)
    assert x.min() >= -1 and x.max() <= 1
    torch.testing.assert_close(prior.decode(x), images)
