"""Checkpoints: what is read is what was written, and damage is never read as data."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import (
    load_checkpoint,
    load_newest_state,
    save_checkpoint,
    save_state,
)
from stabledreamer_core.scene.gaussians import KEYS, init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.tensor_files import load_tensors, save_tensors


def splats() -> dict[str, torch.Tensor]:
    return init_ball(20, 0.7, 0.05, 0.1, generator("checkpoint"))


def state(value: float) -> dict[str, torch.Tensor]:
    tensors = {key: torch.full_like(tensor, value) for key, tensor in splats().items()}
    for key in KEYS:
        tensors[f"adam.{key}.step"] = torch.tensor(value)
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"adam.{key}.{moment}"] = torch.zeros_like(tensors[key])
    return tensors


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.safetensors", splats(), {"prompt": "a red bear"})
    back, metadata = load_checkpoint(tmp_path / "a.safetensors")
    assert metadata == {"prompt": "a red bear"}
    assert all(torch.equal(back[key], splats()[key]) for key in KEYS)


@settings(max_examples=60, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, position: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.safetensors"
    save_checkpoint(path, splats(), {"prompt": "a red bear"})
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.safetensors"):
        load_checkpoint(path)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_noticed(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.safetensors"
    save_checkpoint(path, splats(), {})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError):
        load_tensors(path)


def test_a_damaged_newest_state_falls_back_with_a_warning(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save_state(tmp_path, step, state(float(step)), {"key": "k", "seconds": "1.000"})
    states = sorted(tmp_path.iterdir())
    assert [path.name for path in states] == [
        "state-00000020.safetensors",
        "state-00000030.safetensors",
    ]
    states[-1].write_bytes(states[-1].read_bytes()[:-4])
    found = load_newest_state(tmp_path, "k")
    assert found is not None
    tensors, metadata, warnings = found
    assert metadata["step"] == "20" and tensors["opacities"][0] == 20.0
    assert len(warnings) == 1 and "falling back" in warnings[0]


def test_state_of_other_settings_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, 10, state(0.0), {"key": "k", "seconds": "1.000"})
    with pytest.raises(UserError, match="other settings"):
        load_newest_state(tmp_path, "another")
    assert load_newest_state(tmp_path / "nowhere", "k") is None


def test_the_same_contents_are_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    files = []
    for number in range(8):
        names = (
            ["prompt", "seed", "step", "key"] if number % 2 else ["key", "step", "seed", "prompt"]
        )
        path = tmp_path / f"{number}.safetensors"
        save_tensors(path, tensors, {name: f"of {name}" for name in names})
        files.append(path.read_bytes())
    assert len(set(files)) == 1


def test_a_state_written_after_going_back_outlives_those_of_the_future_it_left(
    tmp_path: Path,
) -> None:
    for step in (50, 79, 90):
        save_state(tmp_path, step, state(float(step)), {"key": "k", "seconds": "1.0"})
    for step in (60, 70):  # gone back to 50
        save_state(tmp_path, step, state(float(step)), {"key": "k", "seconds": "1.0"})
        found = load_newest_state(tmp_path, "k")
        assert found and found[1]["step"] == str(step)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state-00000060.safetensors",
        "state-00000070.safetensors",
    ]
