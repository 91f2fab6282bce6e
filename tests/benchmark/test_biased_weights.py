"""The shipped biased prior: the bundled one with changes of eight bits a number."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.claims import biased_weights
from benchmarks.claims.biased_weights import changes, unpack
from stabledreamer_core.priors import load_prior
from stabledreamer_core.priors.identity import check_manifest


@pytest.fixture
def trained(tmp_path: Path, tiny_if: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prior beside the tiny one, its network's numbers moved by up to a tenth."""
    monkeypatch.setattr(biased_weights, "BUNDLED", tiny_if)
    unpack({}, tmp_path / "trained")
    file = tmp_path / "trained" / "unet" / "diffusion_pytorch_model.safetensors"
    random = torch.Generator().manual_seed(0)
    moved = {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=random).clamp(-1, 1).to(tensor)
        for name, tensor in load_file(file).items()
    }
    save_file(moved, file, metadata={"format": "pt"})
    return tmp_path / "trained"


def test_unpacked_it_is_the_trained_prior_within_half_a_step(trained: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    unpack(changes(trained), again)
    check_manifest(again)
    for file in sorted(again.rglob("*.safetensors")):
        there, here = load_file(trained / file.relative_to(again)), load_file(file)
        bundled = load_file(biased_weights.BUNDLED / file.relative_to(again))
        assert there.keys() == here.keys()
        for name, tensor in there.items():
            step = float((tensor - bundled[name]).abs().max()) / 127
            assert float((here[name] - tensor).abs().max()) <= 0.51 * step + 1e-7
    load_prior(str(again))


def test_without_changes_it_is_the_bundled_prior(trained: Path, tmp_path: Path) -> None:
    same = tmp_path / "same"
    unpack({}, same)
    assert changes(same) == {}


def test_the_shipped_changes_belong_to_the_bundled_prior(tmp_path: Path) -> None:
    found = load_file(Path(biased_weights.__file__).with_name("strong.safetensors"))
    unpack(found, tmp_path / "strong")
    packed = changes(tmp_path / "strong")
    assert packed.keys() == found.keys()
    moved = [name for name in found if name.startswith("unet/") and not name.endswith("|scale")]
    assert len(moved) > 100
    for name in moved:  # float16 weights round a change by a little
        assert (packed[name].int() - found[name].int()).abs().float().mean() < 8.0, name
