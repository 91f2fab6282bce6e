"""engine: openvino answers as torch does, keeps what it converted, and says why it cannot."""

import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.errors import UserError
from stabledreamer_core.priors import Prior, load_prior, openvino_unet
from tasks import checks
from tasks.keys import step_key

installed = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
NAMES = ("tiny_if", "tiny_sd")
FAKE = {"graph": torch.zeros(3, dtype=torch.uint8), "weights": torch.ones(3, dtype=torch.uint8)}


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("openvino")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch) -> Path:
    monkeypatch.setattr(openvino_unet, "CACHE", shared_cache)
    return shared_cache


def ask(prior: Prior, count: int) -> torch.Tensor:
    """eps for some noise, timesteps and prompts that depend on `count` alone."""
    random = torch.Generator().manual_seed(count)
    x_t = torch.randn(count, *prior.sample_shape, generator=random)
    timesteps = torch.randint(0, 1000, (count,), generator=random)
    embeddings = prior.embed(["a red bear, front view", "", "a blue hat"])
    return prior.predict_eps(x_t.to(embeddings), timesteps, embeddings[torch.arange(count) % 3])


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).norm() / second.norm())


@installed
@pytest.mark.parametrize("name", NAMES)
def test_eps_is_that_of_torch_in_float64(name: str, request) -> None:
    folder = str(request.getfixturevalue(name))
    prior, truth = load_prior(folder, engine="openvino"), load_prior(folder, dtype="float64")
    for count in (1, 4, 7):  # the last in two chunks of different sizes
        eps = ask(prior, count)
        assert eps.dtype == torch.float32
        assert distance(eps.double(), ask(truth, count)) < 1e-5


@installed
@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_no_worse_than_torchs(name: str, request) -> None:
    folder = str(request.getfixturevalue(name))
    truth = ask(load_prior(folder, dtype="float64"), 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        eps = ask(load_prior(folder, engine="openvino", dtype="bfloat16"), 4)
    error = distance(eps.double(), truth)
    if any("no bfloat16" in str(warning.message) for warning in caught):
        assert error < 1e-5
    else:
        torchs = distance(ask(load_prior(folder, dtype="bfloat16"), 4).double(), truth)
        assert 1e-4 < error < 1.5 * torchs


@installed
def test_only_the_unet_is_in_bfloat16(tiny_sd: Path) -> None:
    plain = load_prior(str(tiny_sd))
    prior = load_prior(str(tiny_sd), engine="openvino", dtype="bfloat16")
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(prior.encode(images), plain.encode(images))
    assert torch.equal(prior.embed(["a bear"]), plain.embed(["a bear"]))


@installed
@pytest.mark.parametrize(("dtype", "threads"), [("float32", 2), ("bfloat16", 1)])
@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16")
def test_the_same_question_has_the_same_bits(tiny_if: Path, dtype: str, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first = load_prior(str(tiny_if), engine="openvino", dtype=dtype)
        eps = ask(first, 4)
        assert torch.equal(ask(first, 4), eps)
        assert torch.equal(ask(load_prior(str(tiny_if), engine="openvino", dtype=dtype), 4), eps)
    finally:
        torch.set_num_threads(before)


@installed
def test_what_was_converted_is_kept(tiny_if: Path, monkeypatch) -> None:
    eps = ask(load_prior(str(tiny_if), engine="openvino"), 2)

    def refuse(*unet):
        raise AssertionError("converted again")

    monkeypatch.setattr(openvino_unet, "_convert", refuse)
    assert torch.equal(ask(load_prior(str(tiny_if), engine="openvino"), 2), eps)


@installed
@pytest.mark.parametrize("damage", ["missing", "cut", "altered", "another prior's"])
def test_only_its_own_whole_file_counts(
    damage: str, tiny_if: Path, tiny_sd: Path, cache: Path, tmp_path: Path, monkeypatch
) -> None:
    """The file of a prior is replaced by something else; the prior is then converted again."""
    prior = load_prior(str(tiny_sd if damage == "another prior's" else tiny_if), engine="openvino")
    ask(prior, 1)
    name = openvino_unet.cache_path(prior.hash, None).name
    shutil.copy(cache / name, tmp_path / name)
    content = bytearray((cache / name).read_bytes())
    monkeypatch.setattr(openvino_unet, "CACHE", tmp_path)
    if damage == "missing":
        (tmp_path / name).unlink()
    elif damage == "cut":
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    elif damage == "altered":
        content[-100] ^= 0xFF  # in the weights
        (tmp_path / name).write_bytes(content)
    converted = []
    monkeypatch.setattr(openvino_unet, "_convert", lambda *unet: converted.append(unet) or FAKE)
    openvino_unet.load_converted(tiny_if, None, load_prior(str(tiny_if)).hash, 1000)
    assert len(converted) == 1
    openvino_unet.load_converted(tiny_if, None, load_prior(str(tiny_if)).hash, 1000)
    assert len(converted) == 1


@installed
def test_where_nothing_can_be_kept_it_goes_on(tiny_if: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(openvino_unet, "CACHE", tmp_path / "file/folder")
    monkeypatch.setattr(openvino_unet, "_convert", lambda *unet: FAKE)
    assert openvino_unet.load_converted(tiny_if, None, "hash", 1000) is FAKE


@installed
def test_openvino_reports_nothing_home(tiny_if: Path) -> None:
    ask(load_prior(str(tiny_if), engine="openvino"), 1)
    assert sys.modules["openvino_telemetry"] is None
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


@pytest.mark.parametrize(
    ("options", "word"),
    [({"device": "cuda"}, "device to cpu"), ({"dtype": "float16"}, "float16")],
)
def test_what_it_cannot_do_is_refused(options, word, tiny_if: Path) -> None:
    with pytest.raises(UserError, match=word):
        load_prior(str(tiny_if), engine="openvino", **options)


def test_a_missing_package_names_its_extra(tiny_if: Path, monkeypatch) -> None:
    monkeypatch.setattr(openvino_unet, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"\[openvino\]"):
        load_prior(str(tiny_if), engine="openvino")


def test_it_is_refused_before_stage_1(monkeypatch) -> None:
    config = load_config(overrides=["stage2.engine=openvino", "device=cuda"])
    with pytest.raises(UserError, match="engine openvino is for CPUs"):
        checks.check_priors(config, "a red bear")


def test_another_engine_is_another_result() -> None:
    plain, other = load_config(), load_config(overrides=["stage1.engine=openvino"])
    assert step_key("stage1", plain, "a bear", 0, {}) != step_key("stage1", other, "a bear", 0, {})
    files = {"stage1/gaussians.safetensors": "0"}
    same = [step_key("stage2", config, "a bear", 0, files) for config in (plain, other)]
    assert same[0] == same[1]
