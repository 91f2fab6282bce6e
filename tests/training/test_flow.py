"""The flow twin in training, in its pipeline and as a `Prior`: the same noise, the same times."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import PRXPixelPipeline

from stabledreamer_core.priors import load_prior
from tests.priors.test_families import sample_with, sample_with_pipeline
from toybox.training.evaluate import sample
from toybox.training.flow import train_flow
from toybox.training.loop import Slice
from toybox.training.losses import LEAST_S, add_flow_noise
from toybox.training.settings import Training
from toybox.training.vocabulary import all_captions, tokenize_all

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tiny: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flow")
    optim = tiny.flow.optim.model_copy(update={"lr": 0.02, "steps": 12})
    settings = tiny.model_copy(update={"flow": tiny.flow.model_copy(update={"optim": optim})})
    train_flow(settings, Slice(root / "work"), CPU, root / "toybox-flow")
    return root / "toybox-flow"


def test_sampling_through_the_prior_is_the_pipelines(folder: Path) -> None:
    pipeline, prior = PRXPixelPipeline.from_pretrained(folder), load_prior(str(folder))
    assert (prior.space, prior.resolution) == ("pixel", 16)
    noise = 2.0 * torch.randn(1, *prior.sample_shape, generator=torch.Generator().manual_seed(3))
    truth = sample_with_pipeline(pipeline, prior, noise)
    assert truth.std() > 0.01, "a picture of nothing shows nothing"
    assert (sample_with(prior, pipeline.scheduler, noise) - truth).abs().max() < 1e-4


def test_the_pipeline_tells_the_network_what_training_tells_it(folder: Path) -> None:
    """With a network that knows x0, sampling goes through training's x_t at training's s."""
    pipeline = PRXPixelPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    x0, noise = torch.randn(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(4)).unbind()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def know(hidden_states: torch.Tensor, timestep: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        seen.append((hidden_states, timestep))
        return (x0,)

    pipeline.transformer.forward = know
    options = {"num_inference_steps": 5, "guidance_scale": 1.0, "output_type": "pt"}
    shown = pipeline(
        "a red bear", latents=2.0 * noise, use_resolution_binning=False, **options
    ).images
    assert len(seen) == 5 and float(seen[0][1]) == pytest.approx(1.0)
    for x_t, s in seen:
        torch.testing.assert_close(x_t, add_flow_noise(x0, noise, s, 2.0), rtol=0.0, atol=1e-5)
    x_t, s = seen[-1]
    left = 1.0 - s / s.clamp(min=LEAST_S)  # of the noise, where the pipeline divides by more than s
    torch.testing.assert_close(shown, x0 + left * (x_t - x0), rtol=0.0, atol=1e-5)


def test_training_embeds_as_the_pipeline_does(tiny: Training, folder: Path) -> None:
    pipeline = PRXPixelPipeline.from_pretrained(folder)
    table = tokenize_all(pipeline.tokenizer, CPU, tiny.flow.prompt_tokens)
    texts = all_captions()
    rows = torch.tensor([0, 3, 1000, len(texts) - 1])
    mask = table.mask[rows].bool()
    ours = pipeline.text_encoder(table.ids[rows], attention_mask=mask).last_hidden_state
    theirs, theirs_mask, empty, empty_mask = pipeline.encode_prompt([texts[row] for row in rows])
    assert torch.equal(mask, theirs_mask)
    torch.testing.assert_close(ours[mask], theirs[mask])
    assert torch.equal(mask[-1], empty_mask[0]) and int(mask[-1].sum()) == 1
    torch.testing.assert_close(ours[-1][mask[-1]], empty[0][empty_mask[0]])


def test_prompts_sampled_together_are_sampled_alone(tiny: Training, folder: Path) -> None:
    prompts = ["a red bear", "a blue car", "a green mug"]
    alone = tiny.samples.model_copy(update={"batch": 1})
    together = tiny.samples.model_copy(update={"batch": 3})
    pictures = [sample("flow", folder, prompts, how, CPU) for how in (alone, together)]
    torch.testing.assert_close(*pictures, rtol=0.0, atol=1e-5)
