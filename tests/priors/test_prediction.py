"""Conversions to eps, against the process they invert and against diffusers."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from stabledreamer_core.distillation import one_step_denoised
from stabledreamer_core.priors import load_prior
from stabledreamer_core.priors.prediction import to_eps

ABAR = torch.tensor([0.9999, 0.7, 0.3, 0.001], dtype=torch.float64)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_prediction_gives_the_noise_that_was_added(prediction_type: str) -> None:
    x0, noise = random(4, 3, 5, 5, seed=0), random(4, 3, 5, 5, seed=1)
    abar = ABAR.reshape(-1, 1, 1, 1)
    x_t = abar.sqrt() * x0 + (1 - abar).sqrt() * noise
    perfect = {
        "epsilon": noise,
        "v_prediction": abar.sqrt() * noise - (1 - abar).sqrt() * x0,
        "sample": x0,
    }[prediction_type]
    eps = to_eps(perfect, x_t, ABAR, prediction_type)
    torch.testing.assert_close(eps, noise, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("t", [3, 500, 990])
def test_a_v_predicting_pipeline_denoises_as_diffusers_does(tiny_sd_v: Path, t: int) -> None:
    prior = load_prior(str(tiny_sd_v), dtype="float64")
    embeddings = prior.embed(["a red bear"])
    x_t = random(1, *prior.sample_shape, seed=t)
    eps = prior.predict_eps(x_t, torch.tensor([t]), embeddings)
    x0_hat = one_step_denoised(x_t, eps, prior.alphas_cumprod[[t]])

    scheduler = DDIMScheduler.from_pretrained(tiny_sd_v / "scheduler", clip_sample=False)
    assert scheduler.config["prediction_type"] == "v_prediction"
    scheduler.set_timesteps(1000)
    v = prior._network("unet")(x_t, t, encoder_hidden_states=embeddings).sample
    truth = scheduler.step(v, t, x_t).pred_original_sample
    torch.testing.assert_close(x0_hat, truth, rtol=1e-6, atol=1e-6)
