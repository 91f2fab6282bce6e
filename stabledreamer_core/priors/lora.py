"""A network with a LoRA beside the frozen network, around the same weights.

LoRA (Hu et al. 2021, arXiv 2106.09685) adds a product B A of low rank to a linear map; peft puts
one into every linear map of the network's attention. What it is put into is a second tree of
modules that shares the frozen network's tensors: it takes no memory, and the frozen network, what
is compiled of it and its CUDA graphs are as they were. With the LoRA the network runs as it is,
neither compiled nor as a graph.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from stabledreamer_core.priors.quiet import quiet


class Lora:
    """A denoiser with a LoRA, as a function of the LoRA's weights: [P], all in one tensor."""

    def __init__(self, network: Any, call: Any, rank: int):
        """Put a LoRA of this rank, without weights of its own, into a copy of a frozen network.

        Args:
            call: as `Family.call`.
        """
        with quiet():
            import peft
            from diffusers.models.attention import AttentionModuleMixin
            from diffusers.models.attention_processor import Attention

        kinds: Any = (Attention, AttentionModuleMixin)
        shared = [*network.parameters(), *network.buffers()]
        twin = copy.deepcopy(network, {id(tensor): tensor for tensor in shared})
        linear = {
            f"{name}.{inner}"
            for name, attention in twin.named_modules()
            if isinstance(attention, kinds)
            for inner, part in attention.named_modules()
            if isinstance(part, torch.nn.Linear)
        }
        config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=sorted(linear))
        peft.inject_adapter_in_model(config, twin, low_cpu_mem_usage=True)
        self._called = _Called(twin, call)
        own = [(name, part) for name, part in self._called.named_parameters() if part.is_meta]
        self._shapes = {name: part.shape for name, part in own}

    def begin(self, random: torch.Generator) -> Tensor:
        """Draw the weights [P] to begin with: B is zero, so the network is the frozen one."""
        parts = []
        for name, shape in self._shapes.items():
            part = torch.zeros(shape)
            if ".lora_A." in name:  # as peft and torch draw them
                torch.nn.init.kaiming_uniform_(part, math.sqrt(5.0), generator=random)
            parts.append(part.flatten())
        return torch.cat(parts)

    def __call__(self, weights: Tensor, *inputs: Tensor) -> Tensor:
        """Ask the network with these weights [P] of its LoRA; differentiable in them."""
        parts = weights.split([shape.numel() for shape in self._shapes.values()])
        named = {
            name: part.view(shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }
        output: Tensor = torch.func.functional_call(self._called, named, inputs)
        return output


class _Called(torch.nn.Module):
    """A network as its family calls it, in the form that `functional_call` takes."""

    def __init__(self, network: Any, call: Any):
        super().__init__()
        self.network, self._call = network, call

    def forward(self, *inputs: Tensor) -> Tensor:
        output: Tensor = self._call(self.network, *inputs)
        return output
