"""Tiny trainings end to end: folders that the real classes load, scores, cards, packing."""

from pathlib import Path

import pytest
import torch
from diffusers import IFPipeline, PRXPixelPipeline, StableDiffusionPipeline
from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer

from stabledreamer_core.errors import UserError
from toybox.judge import load_judge
from toybox.training.loop import Slice
from toybox.training.pack import pack, unpack
from toybox.training.parts import FOLDERS, TRAINERS, score
from toybox.training.settings import Training

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def priors(tiny: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    for part in ("judge", "pixel", "flow", "vae", "latent"):
        TRAINERS[part](tiny, Slice(root / "work" / part), CPU, root / "priors" / FOLDERS[part])
    return root / "priors"


def test_the_pixel_prior_is_an_if_pipeline(priors: Path) -> None:
    pipeline = IFPipeline.from_pretrained(str(priors / "toybox-if"))
    assert isinstance(pipeline.tokenizer, T5Tokenizer)
    assert pipeline.unet.config.out_channels == 6
    assert pipeline.scheduler.config.variance_type == "learned_range"
    assert pipeline.text_encoder.dtype == pipeline.unet.dtype == torch.float32
    images = pipeline(["a red bear", "a blue car"], num_inference_steps=2, output_type="np").images
    assert images.shape == (2, 16, 16, 3)


def test_the_flow_prior_is_a_prx_pixel_pipeline(priors: Path) -> None:
    pipeline = PRXPixelPipeline.from_pretrained(str(priors / "toybox-flow"))
    assert isinstance(pipeline.tokenizer, Qwen2Tokenizer)
    assert pipeline.config.noise_scale == 2.0
    assert pipeline.text_encoder.dtype == pipeline.transformer.dtype == torch.float32
    options = {"num_inference_steps": 2, "use_resolution_binning": False, "output_type": "np"}
    assert pipeline("a red bear", **options).images.shape == (1, 16, 16, 3)


def test_the_latent_prior_is_a_stable_diffusion_pipeline(priors: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(str(priors / "toybox-sd"))
    assert isinstance(pipeline.tokenizer, CLIPTokenizer)
    assert pipeline.vae.config.scaling_factor != 1.0
    images = pipeline("a red bear", num_inference_steps=2, output_type="np").images
    assert images.shape == (1, 32, 32, 3)


def test_weights_are_half_precision_safetensors(priors: Path) -> None:
    from safetensors.torch import load_file

    weights = [path for path in priors.rglob("*") if path.suffix in (".safetensors", ".bin", ".pt")]
    assert len(weights) == 8
    for path in weights:
        assert path.suffix == ".safetensors"
        floats = [v for v in load_file(path).values() if v.is_floating_point()]
        assert all(value.dtype == torch.float16 for value in floats)


def test_training_embeds_as_the_pipeline_does(priors: Path) -> None:
    from toybox.training.vocabulary import all_captions, tokenize_all

    pipeline = IFPipeline.from_pretrained(str(priors / "toybox-if"))
    table, texts = tokenize_all(pipeline.tokenizer, CPU), all_captions()
    rows = torch.tensor([0, 3, 1000, len(texts) - 1])
    ours = pipeline.text_encoder(table.ids[rows], attention_mask=table.mask[rows])
    theirs, empty = pipeline.encode_prompt([texts[row] for row in rows])
    torch.testing.assert_close(ours.last_hidden_state, theirs)
    torch.testing.assert_close(ours.last_hidden_state[-1], empty[0])


@pytest.mark.parametrize(("part", "network"), [("pixel", "unet"), ("flow", "transformer")])
def test_a_warm_start_begins_with_the_folder(
    tiny: Training, priors: Path, tmp_path: Path, part: str, network: str
) -> None:
    section = getattr(tiny, part)
    optim = section.optim.model_copy(update={"lr": 1e-12})
    tiny = tiny.model_copy(update={part: section.model_copy(update={"optim": optim})})
    source, target = priors / FOLDERS[part], tmp_path / FOLDERS[part]
    TRAINERS[part](tiny, Slice(tmp_path / "work"), CPU, target, warm_start=source)
    file = f"{network}/diffusion_pytorch_model.safetensors"
    assert (source / file).read_bytes() == (target / file).read_bytes()
    assert '"steps": 8' in (target / "figures.json").read_text()


def test_a_finer_decoder_leaves_the_latents_as_they_are(
    tiny: Training, priors: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    finer = tiny.model_copy(update={"vae": tiny.vae.model_copy(update={"decoder_only": True})})
    source, target = priors / "toybox-sd", tmp_path / "toybox-sd"
    TRAINERS["vae"](finer, Slice(tmp_path / "work"), CPU, target, warm_start=source)
    file = "vae/diffusion_pytorch_model.safetensors"
    before, after = load_file(source / file), load_file(target / file)
    changed = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed == {"decoder", "post_quant_conv"}
    assert (source / "vae/config.json").read_text() == (target / "vae/config.json").read_text()
    with pytest.raises(UserError, match="--warm-start"):
        TRAINERS["vae"](finer, Slice(tmp_path / "other"), CPU, tmp_path / "new")


def test_the_latent_prior_asks_for_its_autoencoder(tiny: Training, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train it first"):
        TRAINERS["latent"](tiny, Slice(tmp_path / "work"), CPU, tmp_path / "toybox-sd")


@pytest.mark.parametrize("what", ["judge", "vae", "if", "flow", "sd"])
def test_scores_make_figures_and_cards(
    tiny: Training, priors: Path, tmp_path: Path, what: str
) -> None:
    found = score(what, tiny, priors, tmp_path, CPU)
    card = (priors / f"toybox-{'sd' if what == 'vae' else what}" / "README.md").read_text()
    assert "Not measured" not in card and "## Limits" in card
    if what == "vae":
        assert isinstance(found["psnr_db"], float)
    elif what != "judge":
        assert (tmp_path / f"priors-{what}.png").exists()


def test_packing_and_unpacking_keep_every_byte(priors: Path, tmp_path: Path) -> None:
    pack(priors, tmp_path / "none", priors.parent / "work", tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "back")
    for path in (path for path in priors.rglob("*") if path.is_file()):
        assert (
            path.read_bytes() == (tmp_path / "back/priors" / path.relative_to(priors)).read_bytes()
        )
    assert (tmp_path / "back/.cache/training/pixel/log.jsonl").exists()
    with pytest.raises(UserError):
        unpack(tmp_path / "none", tmp_path)


def test_the_judge_answers_in_probabilities_at_any_size(priors: Path) -> None:
    judge = load_judge(priors / "toybox-judge")
    for side in (16, 32, 100):
        answer = judge(torch.rand(3, 3, side, side))
        for name, values in vars(answer).items():
            assert values.shape == (3, len(getattr(judge.labels, name)))
            torch.testing.assert_close(values.sum(1), torch.ones(3))


def test_a_missing_or_damaged_judge_is_one_clear_line(priors: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no judge"):
        load_judge(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((priors / "toybox-judge" / name).read_bytes()[:-50])
    with pytest.raises(UserError, match="damaged"):
        load_judge(tmp_path)
