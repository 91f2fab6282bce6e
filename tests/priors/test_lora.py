"""A LoRA beside a frozen network: the network that it says it is, and nothing else changed."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.priors import Prior, load_prior
from stabledreamer_core.priors.lora import Lora

RANK = 3


def asked(prior: Prior, count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    x_t = torch.randn(count, *prior.sample_shape, generator=random, dtype=torch.float64)
    timesteps = torch.linspace(50, 900, count).long()
    return x_t.to(prior.dtype), timesteps, prior.embed(["a red bear", ""][:count])


def weights_of(prior: Prior, scale: float = 0.0) -> Tensor:
    """Those to begin with and as much noise as `scale`, so that B is not zero."""
    random = torch.Generator().manual_seed(5)
    weights = prior.begin_lora(RANK, random)
    return weights + scale * torch.randn(weights.shape, generator=random).to(weights)


def opened(folder: Path, dtype: str = "auto") -> Prior:
    """The prior, none of whose gates are zero any more, as a fresh transformer's are."""
    prior = load_prior(str(folder), dtype=dtype)
    asked(prior)  # a text encoder that is loaded later would put the network out
    random = torch.Generator().manual_seed(8)
    for part in prior._network(prior._family.denoiser).parameters():
        part += 0.1 * torch.randn(part.shape, generator=random).to(part)
    return prior


def digest(network: torch.nn.Module) -> str:
    """Of the names, the bits and the modules of a network."""
    found = hashlib.sha256(repr([*network.named_modules()]).encode())
    for name, tensor in network.state_dict().items():
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def test_it_begins_as_the_frozen_network_which_never_changes(pair: tuple[Any, Path]) -> None:
    prior = opened(pair[1])
    question = asked(prior)
    network = prior._network(prior._family.denoiser)
    before, bits = prior.predict_eps(*question), digest(network)
    assert torch.equal(prior.lora_eps(weights_of(prior), RANK, *question), before)

    other = prior.lora_eps(weights_of(prior, 0.3).requires_grad_(), RANK, *question)
    other.square().sum().backward()
    assert float((other - before).detach().norm() / before.norm()) > 1e-3
    assert torch.equal(prior.predict_eps(*question), before)
    assert digest(network) == bits
    assert all(part.grad is None for part in network.parameters())

    for part in network.parameters():  # they share their tensors
        part *= 1.1
    again = prior.predict_eps(*question)
    assert not torch.equal(again, before)
    assert torch.equal(prior.lora_eps(weights_of(prior), RANK, *question), again)


def test_it_reaches_every_linear_map_of_the_attention_and_is_differentiated_right(
    pair: tuple[Any, Path],
) -> None:
    prior = opened(pair[1], "float64")
    question = asked(prior, 1)
    weights = weights_of(prior, 0.1).requires_grad_()
    prior.lora_eps(weights, RANK, *question).square().sum().backward()
    assert weights.grad is not None
    touched = float((weights.grad != 0.0).double().mean())
    assert touched > 0.7  # the last blocks drop their text, so what makes it is unused

    way, h = torch.randn(weights.shape, generator=torch.Generator().manual_seed(1)).double(), 1e-5
    with torch.no_grad():
        up, down = (
            float(prior.lora_eps(weights + sign * h * way, RANK, *question).square().sum())
            for sign in (1.0, -1.0)
        )
    slope = float(weights.grad @ way)
    assert abs((up - down) / (2 * h) - slope) < 3e-3 * abs(slope)  # some compute in float32


def test_it_is_the_network_whose_weights_have_b_a_added(tiny_sd: Path, tiny_sd_v: Path) -> None:
    """Against diffusers' own network, with the products added by hand; v becomes eps by hand."""
    from diffusers import UNet2DConditionModel

    for folder in (tiny_sd, tiny_sd_v):
        prior = load_prior(str(folder), dtype="float64")
        x_t, timesteps, words = asked(prior)
        weights = weights_of(prior, 0.3)
        unet = UNet2DConditionModel.from_pretrained(folder / "unet").double()
        used = 0
        for name, part in unet.named_modules():
            if "attn" in name and isinstance(part, torch.nn.Linear):
                height, width = part.weight.shape
                a, b, _ = weights[used:].split(
                    [RANK * width, height * RANK, len(weights) - used - RANK * (height + width)]
                )
                part.weight.data += b.reshape(height, RANK) @ a.reshape(RANK, width)
                used += RANK * (height + width)
        assert used == len(weights)
        with torch.no_grad():
            truth = unet(x_t, timesteps, encoder_hidden_states=words).sample
        if folder == tiny_sd_v:
            alpha, sigma = (one.reshape(-1, 1, 1, 1) for one in prior.schedule.at(timesteps))
            truth = alpha * truth + sigma * x_t
        torch.testing.assert_close(prior.lora_eps(weights, RANK, x_t, timesteps, words), truth)


def test_seeds_draw_it_and_nothing_else_does(tiny_if: Path) -> None:
    prior = load_prior(str(tiny_if))
    first, again, other = (
        prior.begin_lora(RANK, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(first == 0.0, other == 0.0)  # B
    prior.release()
    assert torch.equal(prior.begin_lora(RANK, torch.Generator().manual_seed(1)), first)


def test_what_is_compiled_of_the_frozen_network_is_not_used(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd))
    network = prior._network("unet")
    compiled: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(len(inputs))
        return graph.forward

    network.mid_block.compile(backend=backend)
    lora = Lora(network, prior._family.call, RANK)
    x_t, timesteps, words = asked(prior)
    lora(lora.begin(torch.Generator().manual_seed(0)), x_t, timesteps, words)
    assert not compiled
    network(x_t, timesteps, words)
    assert compiled


def test_half_precision_keeps_the_lora_in_single(tiny_sd: Path) -> None:
    prior = load_prior(str(tiny_sd), dtype="bfloat16")
    x_t, timesteps, words = asked(prior)
    weights = weights_of(prior, 0.1)
    assert weights.dtype == torch.float32
    weights = weights.requires_grad_()
    eps = prior.lora_eps(weights, RANK, x_t.float(), timesteps, words)
    eps.square().sum().backward()
    assert eps.dtype == torch.float32 and weights.grad is not None
    precise = load_prior(str(tiny_sd)).lora_eps(weights, RANK, x_t.float(), timesteps, words)
    assert float((eps - precise).detach().norm() / precise.detach().norm()) < 0.05
