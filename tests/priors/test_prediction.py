"""One-step denoising of v-predicting priors and of pure noise, against diffusers."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from stabledreamer_core.distillation.loss import WEIGHTINGS, l2_weight, one_step_denoised
from stabledreamer_core.errors import UserError
from stabledreamer_core.priors import load_prior


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("t", [3, 500, 990])
def test_a_v_predicting_pipeline_denoises_as_diffusers_does(tiny_sd_v: Path, t: int) -> None:
    prior = load_prior(str(tiny_sd_v), dtype="float64")
    embeddings = prior.embed(["a red bear"])
    x_t = random(1, *prior.sample_shape, seed=t)
    eps = prior.predict_eps(x_t, torch.tensor([t]), embeddings)
    x0_hat = one_step_denoised(x_t, eps, *prior.schedule.at(torch.tensor([t])))

    scheduler = DDIMScheduler.from_pretrained(tiny_sd_v / "scheduler", clip_sample=False)
    assert scheduler.config["prediction_type"] == "v_prediction"
    scheduler.set_timesteps(1000)
    v = prior._network("unet")(x_t, t, encoder_hidden_states=embeddings).sample
    truth = scheduler.step(v, t, x_t).pred_original_sample
    torch.testing.assert_close(x0_hat, truth, rtol=1e-6, atol=1e-6)


def zero_terminal_snr(folder: Path, to: Path) -> Path:
    """A copy of a prior whose noise schedule ends in pure noise (Lin et al. 2023)."""
    shutil.copytree(folder, to)
    file = to / "scheduler" / "scheduler_config.json"
    changed = json.loads(file.read_text()) | {
        "_class_name": "DDIMScheduler",
        "rescale_betas_zero_snr": True,
    }
    file.write_text(json.dumps(changed))
    assert DDIMScheduler.from_pretrained(to / "scheduler").alphas_cumprod[-1] == 0.0
    return to


@pytest.mark.parametrize("t", [3, 500, 999])
def test_pure_noise_is_denoised_as_diffusers_does(tiny_sd_v: Path, tmp_path: Path, t: int) -> None:
    folder = zero_terminal_snr(tiny_sd_v, tmp_path / "prior")
    prior = load_prior(str(folder), dtype="float64")
    embeddings = prior.embed(["a red bear"])
    x_t = random(1, *prior.sample_shape, seed=t)
    eps = prior.predict_eps(x_t, torch.tensor([t]), embeddings)
    x0_hat = one_step_denoised(x_t, eps, *prior.schedule.at(torch.tensor([t])))

    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", clip_sample=False)
    scheduler.set_timesteps(1000)
    v = prior._network("unet")(x_t, t, encoder_hidden_states=embeddings).sample
    truth = scheduler.step(v, t, x_t).pred_original_sample
    torch.testing.assert_close(x0_hat, truth, rtol=0.0, atol=1e-3)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_no_weight_of_a_schedule_that_ends_in_pure_noise_is_infinite(
    tiny_sd_v: Path, tmp_path: Path, weighting: str
) -> None:
    prior = load_prior(str(zero_terminal_snr(tiny_sd_v, tmp_path / "prior")))
    alphas = prior.schedule.alphas
    assert l2_weight(weighting, prior.schedule, torch.arange(len(alphas))).isfinite().all()
    assert (alphas > 0).all() and (alphas.diff() < 0).all()


def test_a_prior_of_eps_cannot_denoise_pure_noise(tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"zero terminal SNR.*v_prediction or sample"):
        load_prior(str(zero_terminal_snr(tiny_sd, tmp_path / "prior")))
