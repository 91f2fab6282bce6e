"""Checkpoints: what is read is what was written, and damage is never read as data."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stabledreamer_core.distillation.sample_step import Target
from stabledreamer_core.distillation.variational import Loras
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import load_checkpoint, save_checkpoint
from stabledreamer_core.optimization.resume import load_newest, save_newest
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.scene.cameras import orbit
from stabledreamer_core.scene.density import FixedCount
from stabledreamer_core.scene.gaussians import KEYS, init_ball
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.stage import Stage
from stabledreamer_core.tensor_files import load_tensors, save_tensors


def splats() -> dict[str, torch.Tensor]:
    return init_ball(20, 0.7, 0.05, 0.1, generator("checkpoint"))


def state(step: int) -> TrainState:
    """The state after `step` steps of a stage whose Gaussians all become that number."""
    made = TrainState.begin(Stage(), [splats()], FixedCount(), torch.device("cpu"))
    made.step = step
    for key, optimizer in made.optimizers.items():
        made.params[key].grad = torch.zeros_like(made.params[key])
        optimizer.step()
        torch.nn.init.constant_(made.params[key], step)
    return made


def trained_loras() -> Loras:
    """One of five numbers after a step of AdamW."""
    loras = Loras(Stage().variational, [torch.ones(5)])
    loras.weights[0].grad = torch.ones(5)
    loras.optimizer.step()
    return loras


def newest(folder: Path, key: str = "k") -> tuple[TrainState, float] | None:
    return load_newest(folder, key, Stage(), FixedCount(), torch.device("cpu"))


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
        save_newest(tmp_path, state(step), "k", step / 10)
    states = sorted(tmp_path.iterdir())
    assert [path.name for path in states] == [
        "state-00000020.safetensors",
        "state-00000030.safetensors",
    ]
    states[-1].write_bytes(states[-1].read_bytes()[:-4])
    with pytest.warns(UserWarning, match="falling back") as warned:
        found = newest(tmp_path)
    assert found is not None and len(warned) == 1
    assert found[0].step == 20 and found[0].params["opacities"][0] == 20.0 and found[1] == 2.0


def test_state_of_other_settings_is_refused(tmp_path: Path) -> None:
    save_newest(tmp_path, state(10), "k", 1.0)
    with pytest.raises(UserError, match="other settings"):
        newest(tmp_path, "another")
    assert newest(tmp_path / "nowhere") is None


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
        save_newest(tmp_path, state(step), "k", 1.0)
    for step in (60, 70):  # gone back to 50
        save_newest(tmp_path, state(step), "k", 1.0)
        found = newest(tmp_path)
        assert found and found[0].step == step
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state-00000060.safetensors",
        "state-00000070.safetensors",
    ]


@pytest.mark.parametrize("odd", [torch.full((1, 5), torch.nan), torch.ones(1, 4)])
def test_loras_of_odd_numbers_or_shapes_are_passed_over(odd: torch.Tensor, tmp_path: Path) -> None:
    whole = state(20)
    whole.loras = trained_loras()
    save_newest(tmp_path, whole, "k", 2.0)
    path = tmp_path / "state-00000020.safetensors"
    tensors, known = load_tensors(path)
    save_tensors(path, tensors | {"lora.exp_avg": odd}, known)
    with pytest.warns(UserWarning, match="its LoRAs are not whole"):
        assert newest(tmp_path) is None


@pytest.mark.parametrize(
    ("lost", "metadata"),
    [
        ("", {"step": "x"}),
        ("", {"step": "-1"}),
        ("", {"rate": "nan"}),
        ("", {"rate": "2.0"}),
        ("", {"seconds": "nan"}),
        ("means", {}),
        ("adam.quats.step", {}),
        ("adam.scales.exp_avg_sq", {}),
        ("target.x0_hat", {}),
        ("lora.exp_avg", {}),
    ],
)
def test_a_state_that_cannot_be_gone_on_from_is_passed_over(
    lost: str, metadata: dict[str, str], tmp_path: Path
) -> None:
    whole = state(20)
    views = orbit(torch.zeros(1), torch.zeros(1), 3.0, 40.0, Stage().render_resolution(0.0))
    rest = (torch.ones(1, 3), torch.ones(1), torch.ones(1), torch.ones(1))
    whole.targets = [Target(views, *rest), Target(views, *rest)]
    whole.loras = trained_loras()
    save_newest(tmp_path, whole, "k", 2.0)
    found = newest(tmp_path)
    assert found and len(found[0].targets) == 2 and found[0].loras
    assert torch.equal(found[0].loras.weights[0], whole.loras.weights[0])
    assert torch.equal(found[0].targets[1].views.Ks, views.Ks)
    path = tmp_path / "state-00000020.safetensors"
    tensors, known = load_tensors(path)
    tensors.pop(lost, None)
    save_tensors(path, tensors, known | metadata)
    with pytest.warns(UserWarning, match=r"state-00000020.*falling back"):
        assert newest(tmp_path) is None
