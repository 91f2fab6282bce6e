"""Networks as CUDA graphs and compiled: the answers of the same networks run as they are."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.priors.acceleration import MAX_GRAPHS, graphed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
PROMPT = "a red bear wearing a hat"


def questions(prior: Prior, count: int) -> list[tuple[Tensor, Tensor]]:
    """`count` noised samples of two images each, and their timesteps."""
    random = torch.Generator().manual_seed(1)
    drawn = [torch.randn(2, *prior.sample_shape, generator=random) for _ in range(count)]
    levels = torch.linspace(5, len(prior.schedule) - 5, 2 * count).long().reshape(count, 2)
    return [(x.cuda(), at.cuda()) for x, at in zip(drawn, levels, strict=True)]


def answers(prior: Prior, count: int = 4) -> list[Tensor]:
    embeddings = prior.embed([PROMPT, ""])
    return [prior.predict_eps(x, at, embeddings) for x, at in questions(prior, count)]


def latents(prior: Prior, count: int = 4) -> list[Tensor]:
    """Latents of images, and the images' gradients of the latents' squares."""
    made = []
    for index in range(count):
        random = torch.Generator().manual_seed(index)
        side = prior.resolution
        images = torch.rand(2, 3, side, side, generator=random).cuda().requires_grad_()
        x = prior.encode(images)
        x.square().sum().backward()
        assert images.grad is not None
        made += [x.detach().clone(), images.grad.clone()]
    return made


def assert_same(found: list[Tensor], truth: list[Tensor], tolerance: float) -> None:
    for one, other in zip(found, truth, strict=True):
        assert (one - other).norm() <= tolerance * other.norm()
    assert not torch.allclose(truth[0], truth[2])  # else replays of stale inputs would pass


@pytest.fixture
def strict() -> Any:
    """Where a network cannot be captured or compiled, the warning fails the test."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="a network cannot run as a CUDA graph")
        yield


def test_every_family_answers_the_same(pair: Any, strict: None) -> None:
    _, folder = pair
    plain = load_prior(str(folder), device="cuda", acceleration="none")
    fast = load_prior(str(folder), device="cuda", acceleration="graphs")
    assert_same(answers(fast), answers(plain), 1e-4)
    if plain.space == "latent":
        assert_same(latents(fast), latents(plain), 1e-4)


def test_compiled_it_answers_the_same(tiny_sd: Path, strict: None, tmp_path: Path) -> None:
    plain = load_prior(str(tiny_sd), device="cuda", acceleration="none")
    fast = load_prior(str(tiny_sd), device="cuda", acceleration="compile", cache_dir=tmp_path)
    assert_same(answers(fast), answers(plain), 2e-3)
    assert_same(latents(fast), latents(plain), 2e-3)
    assert any((tmp_path / "compiled").iterdir())  # and is kept


def test_graphs_give_the_bits_of_the_network(tiny_if: Path, strict: None) -> None:
    plain = load_prior(str(tiny_if), device="cuda", acceleration="none")
    fast = load_prior(str(tiny_if), device="cuda", acceleration="graphs")
    assert_same(answers(fast), answers(plain), 0.0)


def test_what_is_released_is_captured_anew(tiny_sd: Path, strict: None) -> None:
    prior = load_prior(str(tiny_sd), device="cuda")
    before = answers(prior)
    prior.release()
    assert_same(answers(prior), before, 0.0)


def test_more_shapes_than_graphs_are_answered_too() -> None:
    double = graphed(lambda x: 2.0 * x)
    for _ in range(3):
        for length in range(1, MAX_GRAPHS + 4):
            x = torch.randn(length, device="cuda")
            torch.testing.assert_close(double(x), 2.0 * x)


def test_a_function_that_waits_runs_as_it_is() -> None:
    def waits(x: Tensor) -> Tensor:
        return x * float(x.sum())

    fast = graphed(waits)
    fast(torch.ones(3, device="cuda"))
    with pytest.warns(UserWarning, match="cannot run as a CUDA graph"):
        fast(torch.ones(3, device="cuda"))
    found = fast(torch.full((3,), 2.0, device="cuda"))
    torch.testing.assert_close(found, torch.full((3,), 12.0, device="cuda"))
