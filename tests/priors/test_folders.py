"""Folders that are missing, damaged, pickled or of another kind: one clear line each."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from stabledreamer_core.errors import UserError
from stabledreamer_core.priors import load_prior, prior_hash, write_manifest


@pytest.fixture
def folder(tiny_sd: Path, tmp_path: Path) -> Path:
    """A copy of the tiny latent prior to damage."""
    return shutil.copytree(tiny_sd, tmp_path / "mine")


def refusal(source: Path | str, **options) -> str:
    """The one line that loading `source` is refused with."""
    with pytest.raises(UserError) as caught:
        load_prior(str(source), **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_no_such_folder(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in refusal(tmp_path / "nowhere")
    assert "priors-of-mine" in refusal("./priors-of-mine")


def test_a_missing_folder_beside_others_is_not_taken_for_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "priors").mkdir()
    assert str(tmp_path / "priors/mine") in refusal("priors/mine", base=tmp_path)


def test_relative_folders_are_found_below_the_base(folder: Path) -> None:
    prior = load_prior("mine", base=folder.parent)
    assert prior.folder == folder


@pytest.mark.parametrize(
    "name", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"]
)
@pytest.mark.parametrize("damage", ["missing", "cut short", "no object"])
def test_descriptions(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_text('{"_class_name": "Stab' if damage == "cut short" else "[]")
    assert str(path) in refusal(folder)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_weights(folder: Path, component: str, keep: int) -> None:
    path = next((folder / component).glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:keep])
    assert str(path) in refusal(folder)


def test_missing_weights(folder: Path) -> None:
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    path.unlink()
    assert str(path) in refusal(folder)


def test_pickled_weights_are_never_opened(folder: Path) -> None:
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))
    line = refusal(folder)
    assert "pickled" in line and str(folder / "unet") in line


def test_the_wrong_variant_is_told(folder: Path) -> None:
    line = refusal(folder, variant="fp16")
    assert "'fp16'" in line and "model.safetensors" in line


def test_other_pipelines_are_refused(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name="KandinskyPipeline")
    line = refusal(folder)
    assert "KandinskyPipeline" in line and "IFPipeline" in line


def test_a_second_stage_is_refused(tiny_if: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_if, tmp_path / "mine")
    edit(folder / "unet/config.json", in_channels=6)
    assert "in_channels" in refusal(folder)


def test_unknown_predictions_are_refused(folder: Path) -> None:
    edit(folder / "scheduler/scheduler_config.json", prediction_type="flow_prediction")
    assert "flow_prediction" in refusal(folder)


def test_unknown_dtypes_are_refused(folder: Path) -> None:
    assert "int8" in refusal(folder, dtype="int8")


def test_weights_of_another_network(folder: Path) -> None:
    edit(folder / "vae/config.json", block_out_channels=[8, 8, 16])
    prior = load_prior(str(folder))
    with pytest.raises(UserError, match="vae"):
        prior.encode(torch.rand(1, 3, 32, 32))


def test_sharded_weights_load_and_are_checked(folder: Path) -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="50KB")
    shards = sorted((folder / "unet").glob("*.safetensors"))
    assert len(shards) > 1
    prior = load_prior(str(folder))
    x_t, t = torch.randn(1, 4, 8, 8), torch.tensor([7])
    embeddings = prior.embed(["a bear"])
    with torch.no_grad():
        truth = unet(x_t, t, encoder_hidden_states=embeddings).sample
    torch.testing.assert_close(prior.predict_eps(x_t, t, embeddings), truth, rtol=1e-4, atol=1e-5)
    shards[-1].unlink()
    assert str(shards[-1]) in refusal(folder)


def test_sharded_half_precision_text_encoders_load(tiny_if_half: Path, tmp_path: Path) -> None:
    from transformers import T5EncoderModel

    folder = shutil.copytree(tiny_if_half, tmp_path / "mine")
    encoder = T5EncoderModel.from_pretrained(folder / "text_encoder", variant="fp16")
    for path in (folder / "text_encoder").glob("*.safetensors"):
        path.unlink()
    encoder.save_pretrained(folder / "text_encoder", variant="fp16", max_shard_size="5KB")
    names = sorted(path.name for path in (folder / "text_encoder").glob("*.safetensors"))
    assert names[0].startswith("model.fp16-00001-of-")  # as DeepFloyd's are called
    whole = load_prior(str(tiny_if_half), variant="fp16").embed(["a bear"])
    assert torch.equal(load_prior(str(folder), variant="fp16").embed(["a bear"]), whole)
    (folder / "text_encoder" / names[-1]).unlink()
    assert names[-1] in refusal(folder, variant="fp16")


def test_a_sentencepiece_tokenizer_needs_protobuf(
    tiny_if: Path, tmp_path: Path, monkeypatch
) -> None:
    folder = shutil.copytree(tiny_if, tmp_path / "mine")
    (folder / "tokenizer/tokenizer.json").rename(folder / "tokenizer/spiece.model")
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    assert "pip install protobuf" in refusal(folder)


@pytest.mark.parametrize("family", ["tiny_if", "tiny_sd"])
def test_a_tokenizer_without_its_vocabulary(family: str, request, tmp_path: Path) -> None:
    folder = shutil.copytree(request.getfixturevalue(family), tmp_path / "mine")
    (folder / "tokenizer/tokenizer.json").unlink()
    line = refusal(folder)
    assert str(folder / "tokenizer") in line and "lacks its vocabulary" in line


def test_a_checkpoint_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "v1-5-pruned.safetensors"
    file.write_bytes(b"x")
    assert "from_single_file" in refusal(file)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("tokenizer_config.json", {"model_max_length": 2 * 10**9}),
        ("tokenizer.json", {"padding": {"strategy": {"Fixed": 2 * 10**9}}}),
    ],
)
def test_a_tokenizer_that_pads_without_end(folder: Path, file: str, change: dict) -> None:
    path = folder / "tokenizer" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="prompts of 2e\\+09 tokens"):
        load_prior(str(folder))


def test_a_truncated_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer/tokenizer.json"
    path.write_text(path.read_text()[:-20])
    assert str(path) in refusal(folder)


def test_a_tokenizer_of_another_kind(folder: Path) -> None:
    (folder / "tokenizer/tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="tokenizer"):
        load_prior(str(folder)).embed(["a bear"])


def test_the_manifest_catches_a_flipped_bit(folder: Path) -> None:
    write_manifest(folder)
    load_prior(str(folder))
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    line = refusal(folder)
    assert str(path) in line and "SHA256SUMS" in line


def test_the_hash_follows_content_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    before = prior_hash(str(folder))
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    (moved / "README.md").write_text("a card")
    assert prior_hash("elsewhere", base=tmp_path) == before == load_prior(str(moved)).hash
    for name in ("unet/diffusion_pytorch_model.safetensors", "tokenizer/tokenizer.json"):
        changed = shutil.copytree(folder, tmp_path / name.replace("/", "-"))
        content = bytearray((changed / name).read_bytes())
        content[-2] ^= 1
        (changed / name).write_bytes(content)
        assert prior_hash(str(changed)) != before
