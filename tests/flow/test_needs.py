"""What presets need is compared with the machine before anything is downloaded."""

from dataclasses import replace

import pytest
from huggingface_hub import constants

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.errors import UserError
from tasks.needs import Machine, needs, tell_needs

BIG = Machine(disk_gb=500, memory_gb=128, gpu_gb=80, eight_bit=False, login=True)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def stages(preset: str, *overrides: str):
    config = load_config(preset=preset, overrides=overrides)
    return config.stage1, config.stage2


def test_a_line_a_stage_and_the_download() -> None:
    first, second, total = needs(stages("open"), BIG)
    assert first.startswith("stage 1: Photoroom/prx-512-t2i-sft (Apache 2.0")
    assert "80 GB GPU" in second and "all samples at once" in second
    assert total.startswith("to download: 31.7 GB") and "500 GB free" in total


def test_one_model_for_both_stages_is_counted_once() -> None:
    assert needs(stages("small"), BIG)[-1].startswith("to download: 2.2 GB")


@pytest.mark.parametrize(
    ("change", "preset", "says"),
    [
        ({"disk_gb": 20}, "open", "need 32 GB more on the disk"),
        ({"gpu_gb": 8}, "open", "8 GB for us and black-forest-labs/FLUX.2-klein-base-4B needs"),
        ({"gpu_gb": 3}, "small", "3 GB for us"),
        ({"gpu_gb": None, "memory_gb": 4}, "sdxl", "there is no GPU"),
        ({"login": False}, "paper", "hf auth login"),
        ({"login": False}, "sd3", "is gated and you are not logged in"),
    ],
)
def test_what_is_lacking_is_one_line(change: dict, preset: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        needs(stages(preset), replace(BIG, **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "gpu_gb"), [("small", 8), ("open", 12), ("sdxl", 16), ("sd3", 16), ("paper", 12)]
)
def test_presets_fit_the_cards_that_they_promise(preset: str, gpu_gb: float) -> None:
    lines = needs(stages(preset), replace(BIG, gpu_gb=gpu_gb))
    assert all(f"{gpu_gb} GB GPU" in line for line in lines[:2])


def test_embeddings_spare_the_encoder_its_download(tmp_path) -> None:
    prior = ("stage1.prior=DeepFloyd/IF-I-M-v1.0", "stage1.revision=null", "stage1.resolution=64")
    whole = needs(stages("small", *prior), BIG)[-1]
    spared = needs(stages("small", *prior, "stage1.embeddings=there"), BIG)[-1]
    assert whole.startswith("to download: 14.6 GB") and spared.startswith("to download: 3.0 GB")


def test_the_bundled_priors_need_nothing_said(capsys) -> None:
    tell_needs(load_config())
    assert capsys.readouterr() == ("", "")
