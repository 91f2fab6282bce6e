"""What each way of running a network is worth on a GPU, a rung at a time.

    python -m benchmarks.speed.ladder sd21 [--views 4] [--seconds 3]

Builds a pipeline of architectures.yaml with random weights and times its denoiser (every view with
and without the prompt, no gradient) and its VAE's encoder (there and back): as diffusers runs them,
in the other memory layout, as CUDA graphs, compiled, and both.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.architectures import build, read
from benchmarks.speed.networks_alone import milliseconds
from stabledreamer.runtime.root import ROOT
from stabledreamer_core.priors import acceleration as fast
from stabledreamer_core.priors.families import FAMILIES
from stabledreamer_core.priors.models import DTYPES, vae_dtype

Rung = tuple[str, Callable[[], object]]
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def denoiser_rungs(name: str, views: int, side: int, words: tuple[int, int]) -> Iterator[Rung]:
    """Yield each way to ask the denoiser about `views` renders with and without the prompt.

    Args:
        side: of what is denoised. words: L and D of an embedding.
    """
    described = read()["pipelines"][name]
    family, dtype = FAMILIES[described["index"]["_class_name"]], DTYPES[described["dtype"]]
    network = build(described["components"][family.denoiser], torch.device("cuda"), dtype)
    shape = (2 * views, network.config.in_channels, side, side)
    x_t = torch.randn(shape, device="cuda", dtype=dtype)
    told = torch.linspace(20, 900, 2 * views, device="cuda")
    prompts = torch.randn(2 * views, *words, device="cuda", dtype=dtype)
    call = partial(family.call, network)

    def ask(function: fast.Function, layout: torch.memory_format) -> Callable[[], Tensor]:
        network.to(memory_format=layout)
        x = x_t.contiguous(memory_format=layout)
        return torch.inference_mode()(lambda: function(x, told, prompts))

    best = "channels first" if family.denoiser == "transformer" else "channels last"
    for layout in LAYOUTS if family.denoiser == "unet" else (best,):
        yield f"denoiser, {layout}", ask(call, LAYOUTS[layout])
        yield f"denoiser, {layout}, graph", ask(fast.graphed(call), LAYOUTS[layout])
    fast.compile_denoiser(network)
    yield f"denoiser, {best}, compiled", ask(call, LAYOUTS[best])
    yield f"denoiser, {best}, compiled, graph", ask(fast.graphed(call), LAYOUTS[best])


def vae_rungs(name: str, views: int, side: int) -> Iterator[Rung]:
    """Yield each way to encode `views` images of `side` pixels, and to go back to them."""
    described = read()["pipelines"][name]
    family, dtype = FAMILIES[described["index"]["_class_name"]], DTYPES[described["dtype"]]
    vae: Any = build(described["components"]["vae"], torch.device("cuda"), vae_dtype(dtype))
    images = torch.rand(views, 3, side, side, device="cuda", requires_grad=True)
    encode = partial(family.encode, vae)
    first = torch.contiguous_format

    def there_and_back(
        function: fast.Function, layout: torch.memory_format, math: bool = True
    ) -> Callable[[], None]:
        def ask() -> None:
            vae.to(memory_format=layout)
            pixels = (2 * images - 1).to(vae.dtype, memory_format=layout)
            how: AbstractContextManager[None] = (
                fast.vae_attention(pixels) if math else nullcontext()
            )
            with how:
                function(pixels).float().sum().backward()

        return ask

    yield "VAE, channels last", there_and_back(encode, torch.channels_last, math=False)
    yield "VAE, channels first", there_and_back(encode, first, math=False)
    yield "VAE, attention as products", there_and_back(encode, first)
    yield "VAE, graphs", there_and_back(fast.graphed_with_gradient(encode), first)
    compiled = fast.compile_vae(encode)
    yield "VAE, compiled", there_and_back(compiled, first)
    yield "VAE, compiled, graphs", there_and_back(fast.graphed_with_gradient(compiled), first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(read()["pipelines"]))
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--side", type=int, default=64, help="of what is denoised")
    parser.add_argument("--words", type=int, nargs=2, default=(77, 1024), metavar=("L", "D"))
    parser.add_argument("--pixels", type=int, default=512, help="side of an image for the VAE")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement, about")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this measures a GPU, and there is none")
    fast.keep_compiled(ROOT / ".cache/compiled")
    device = torch.device("cuda")
    print(torch.cuda.get_device_name(device), "torch", torch.__version__)
    words = (arguments.words[0], arguments.words[1])
    rungs = [denoiser_rungs(arguments.name, arguments.views, arguments.side, words)]
    if "vae" in read()["pipelines"][arguments.name]["components"]:
        rungs.append(vae_rungs(arguments.name, arguments.views, arguments.pixels))
    for rung in rungs:
        for what, call in rung:
            print(f"{what}: {milliseconds(call, device, arguments.seconds)} ms", flush=True)


if __name__ == "__main__":
    main()
