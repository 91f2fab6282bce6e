"""A prior's networks: loaded when they are first called, sped up on a GPU, freed together."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from stabledreamer_core.priors import acceleration as fast
from stabledreamer_core.priors.families import Family
from stabledreamer_core.priors.lora import Lora
from stabledreamer_core.priors.models import load_network, vae_dtype


class Networks:
    """The denoiser and the VAE of a prior, and how they are called."""

    def __init__(
        self,
        folder: Path,
        family: Family,
        variant: str | None,
        device: torch.device,
        dtype: torch.dtype,
        acceleration: fast.Acceleration,
        compiled: Path | None = None,
        unet: Callable[[], Any] | None = None,
    ):
        """Load nothing yet.

        Args:
            compiled: where torch.compile keeps what it makes.
            unet: loads the UNet, in place of the folder's own.
        """
        self._folder, self._family, self._variant = folder, family, variant
        self._device, self._dtype, self._acceleration = device, dtype, acceleration
        self._compiled, self._unet = compiled, unet
        self._loaded: dict[str, Any] = {}
        self._functions: dict[str, fast.Function] = {}
        self._loras: dict[int, Lora] = {}

    def get(self, component: str) -> Any:
        """Return a network; load it the first time."""
        if component not in self._loaded:
            if component == "unet" and self._unet is not None:
                self._loaded[component] = self._unet()
            else:
                dtype = vae_dtype(self._dtype) if component == "vae" else self._dtype
                self._loaded[component] = load_network(
                    *(self._folder, component, self._variant, dtype, self._device),
                    memory_format=self.layout(component),
                )
        return self._loaded[component]

    def layout(self, component: str) -> torch.memory_format:
        """Channels last for convolutions; but a VAE's group norms are slow in it on a GPU."""
        first = component == "transformer" or (component == "vae" and self._device.type == "cuda")
        return torch.contiguous_format if first else torch.channels_last

    def denoiser(self) -> fast.Function:
        """(x_t, what it is told [B], embeddings) -> its prediction, as the family calls it."""
        if "denoise" not in self._functions:
            network = self.get(self._family.denoiser)
            call: fast.Function = partial(self._family.call, network)
            if self._acceleration == "compile":
                self._keep_compiled()
                fast.compile_denoiser(network)
            if self._acceleration != "none":
                call = fast.graphed(call)
            self._functions["denoise"] = call
        return self._functions["denoise"]

    def lora(self, rank: int) -> Lora:
        """Return the denoiser with a LoRA of this rank, around the same weights."""
        if rank not in self._loras:
            self._loras[rank] = Lora(self.get(self._family.denoiser), self._family.call, rank)
        return self._loras[rank]

    def encoder(self, with_gradient: bool, slices: bool) -> fast.Function:
        """Pixels [B, 3, H, W] in [-1, 1] -> latents, as the family encodes them.

        Args:
            slices: image by image, as little memory needs.
        """
        name = f"encode {with_gradient} {slices}"
        if name not in self._functions:
            vae = self.get("vae")
            call: fast.Function = partial(self._family.encode, vae)
            self._functions[name] = (
                _by_slices(call, vae) if slices else self._fast(call, with_gradient)
            )
        return self._functions[name]

    def _fast(self, encode: fast.Function, with_gradient: bool) -> fast.Function:
        if self._acceleration == "compile":
            self._keep_compiled()
            encode = fast.compile_vae(encode)
        if self._acceleration != "none":
            encode = (fast.graphed_with_gradient if with_gradient else fast.graphed)(encode)

        def call(pixels: Tensor) -> Tensor:
            with fast.vae_attention(pixels):
                return encode(pixels)

        return call

    def release(self) -> bool:
        """Free all of them; whether there were any."""
        had = bool(self._loaded)
        self._loaded.clear()
        self._functions.clear()
        self._loras.clear()
        return had

    def _keep_compiled(self) -> None:
        if self._compiled is not None:
            fast.keep_compiled(self._compiled)


def _by_slices(encode: fast.Function, vae: Any) -> fast.Function:
    """Encode image by image, and again in the backward pass: activations of one at a time."""
    if getattr(vae, "_supports_gradient_checkpointing", False):
        vae.enable_gradient_checkpointing()

    def call(pixels: Tensor) -> Tensor:
        if not pixels.requires_grad:
            return torch.cat([encode(image) for image in pixels.split(1)])
        again = [checkpoint(encode, image, use_reentrant=False) for image in pixels.split(1)]
        return torch.cat(again)

    return call
