"""Multi-step denoising against diffusers' DDIM scheduler, in float64."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.distillation.denoise import multi_step, sample
from stabledreamer_core.distillation.loss import guided_eps, one_step_denoised
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.target import denoise
from stabledreamer_core.priors import load_prior


def diffusers_ddim(prior, x, last, steps, cond, uncond, scale, clip):
    """Diffusers' deterministic DDIM from timestep `last`, strides of (last + 1) / steps."""
    scheduler = DDIMScheduler.from_pretrained(
        prior.folder / "scheduler",
        clip_sample=clip,
        thresholding=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    stride = (last + 1) // steps
    scheduler.set_timesteps(1000 // stride)
    unet = prior._network("unet")
    for t in [t for t in scheduler.timesteps.tolist() if t <= last]:
        with torch.no_grad():
            channels = x.shape[1]
            without = unet(x, t, encoder_hidden_states=uncond).sample[:, :channels]
            eps = unet(x, t, encoder_hidden_states=cond).sample[:, :channels]
        eps = without + scale * (eps - without)
        x = scheduler.step(eps, t, x, eta=0.0, use_clipped_model_output=clip).prev_sample
    return x


@pytest.mark.parametrize("name", ["tiny_if", "tiny_sd"])
@pytest.mark.parametrize(("last", "steps"), [(999, 10), (499, 5), (99, 1), (799, 4)])
@pytest.mark.parametrize("clip", [False, True])
def test_multi_step_is_ddim(name: str, last: int, steps: int, clip: bool, request) -> None:
    prior = load_prior(str(request.getfixturevalue(name)), dtype="float64")
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    random = torch.Generator().manual_seed(steps)
    x_t = torch.randn(1, *prior.sample_shape, generator=random, dtype=torch.float64)
    truth = diffusers_ddim(prior, x_t, last, steps, cond, uncond, 5.0, clip)
    limit = "clamp" if clip else "none"
    x0 = multi_step(prior, x_t, torch.tensor([last]), cond, uncond, 5.0, steps, limit)
    assert (x0 - truth).norm() < 1e-9 * truth.norm()


def test_one_step_is_the_one_step_denoised_image(tiny_if: Path) -> None:
    prior = load_prior(str(tiny_if), dtype="float64")
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    cond, uncond = cond.expand(3, -1, -1), uncond.expand(3, -1, -1)
    timesteps = torch.tensor([3, 250, 900])
    x_t = torch.randn(3, *prior.sample_shape, dtype=torch.float64)
    eps_hat = guided_eps(prior.predict_eps, x_t, timesteps, cond, uncond, 7.0)
    truth = one_step_denoised(x_t, eps_hat, *prior.schedule.at(timesteps))
    torch.testing.assert_close(multi_step(prior, x_t, timesteps, cond, uncond, 7.0, 1), truth)


def test_each_sample_walks_from_its_own_timestep(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd), dtype="float64")
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    timesteps = torch.tensor([2, 333, 980])  # the first has fewer levels left than steps
    x_t = torch.randn(3, *prior.sample_shape, dtype=torch.float64)
    three = cond.expand(3, -1, -1), uncond.expand(3, -1, -1)
    together = multi_step(prior, x_t, timesteps, *three, 3.0, 6)
    for i in range(3):
        alone = multi_step(prior, x_t[i : i + 1], timesteps[i : i + 1], cond, uncond, 3.0, 6)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-9, atol=1e-9)


def test_more_steps_than_levels_change_nothing(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd), dtype="float64")
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    x_t = torch.randn(1, *prior.sample_shape, dtype=torch.float64)
    t = torch.tensor([4])
    exact = multi_step(prior, x_t, t, cond, uncond, 3.0, 5)
    torch.testing.assert_close(multi_step(prior, x_t, t, cond, uncond, 3.0, 50), exact)


def test_no_steps_are_refused(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd))
    embeddings = prior.embed([""])
    x_t = torch.zeros(1, *prior.sample_shape)
    with pytest.raises(ValueError, match="steps"):
        multi_step(prior, x_t, torch.tensor([5]), embeddings, embeddings, 1.0, 0)


@pytest.mark.parametrize("name", ["tiny_if", "tiny_sd"])
def test_samples_are_images_and_follow_the_seed(name: str, request) -> None:
    prior = load_prior(str(request.getfixturevalue(name)))
    cond, uncond = prior.embed(["a red bear", ""]).split(1)

    def draw(seed: int) -> torch.Tensor:
        random = torch.Generator().manual_seed(seed)
        return sample(prior, cond, uncond, 4.0, 3, random, "clamp")

    assert draw(0).shape == (1, 3, prior.resolution, prior.resolution)
    assert draw(0).min() >= 0 and draw(0).max() <= 1
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def rescaled_ddim(prior, x, last, steps, cond, uncond, scale, rescale):
    """Diffusers' deterministic DDIM, with the guidance rescaling of its own pipelines."""
    scheduler = DDIMScheduler.from_pretrained(
        prior.folder / "scheduler", clip_sample=False, set_alpha_to_one=True,
        timestep_spacing="trailing",
    )  # fmt: skip
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    scheduler.set_timesteps(1000 // ((last + 1) // steps))
    unet = prior._network("unet")
    for t in [t for t in scheduler.timesteps.tolist() if t <= last]:
        with torch.no_grad():
            without = unet(x, t, encoder_hidden_states=uncond).sample
            text = unet(x, t, encoder_hidden_states=cond).sample
        eps = rescale_noise_cfg(without + scale * (text - without), text, rescale)
        x = scheduler.step(eps, t, x, eta=0.0).prev_sample
    return x


@pytest.mark.parametrize(("last", "steps", "rescale"), [(999, 10, 0.7), (499, 5, 1.0)])
def test_multi_step_rescales_guidance_as_diffusers_does(
    tiny_sd: Path, last: int, steps: int, rescale: float
) -> None:
    prior = load_prior(str(tiny_sd), dtype="float64")
    cond, uncond = prior.embed(["a red bear", ""]).split(1)
    random = torch.Generator().manual_seed(steps)
    x_t = torch.randn(1, *prior.sample_shape, generator=random, dtype=torch.float64)
    truth = rescaled_ddim(prior, x_t, last, steps, cond, uncond, 7.5, rescale)
    t = torch.tensor([last])
    x0 = multi_step(prior, x_t, t, cond, uncond, 7.5, steps, guidance_rescale=rescale)
    assert (x0 - truth).norm() < 1e-9 * truth.norm()
    stage = load_config(overrides=[
        "stage2.guidance_scale=7.5", f"stage2.guidance_rescale={rescale}",
        "stage2.target=many_steps",
        f"stage2.target_steps={steps}",
    ]).stage2  # fmt: skip
    x, zero = x_t / prior.schedule.alphas[t], torch.zeros_like(x_t)
    target = denoise(stage, prior, Question(x, zero, t, cond, uncond))
    assert (target - truth).norm() < 1e-6 * truth.norm()
