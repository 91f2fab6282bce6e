"""Run frozen networks on a GPU as fast as it can: compiled, and as CUDA graphs.

A network of a thousand small kernels waits for the host that launches them; a CUDA graph is
launched at once. torch.compile fuses them besides, for a minute or more the first time; what it
makes is kept (`keep_compiled`).
"""

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from stabledreamer_core.errors import first_line
from stabledreamer_core.priors.memory_plan import gpu_bytes

Acceleration = Literal["auto", "none", "graphs", "compile"]
Function = Callable[..., Tensor]
T = TypeVar("T")

MAX_GRAPHS = 8  # of a function; each shape of its inputs has its own
MATH_PIXELS = 512 * 512  # up to here the attention of a VAE's middle block is fastest as a product


def keep_compiled(folder: Path) -> None:
    """Let torch.compile keep what it makes in `folder`, unless the environment names another."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.absolute()))
    os.environ.setdefault("TRITON_CACHE_DIR", str((folder / "triton").absolute()))


def compile_denoiser(network: Any) -> None:
    """Compile a denoiser in place: a transformer by its equal blocks, in seconds; a UNet whole."""
    lists = [part for part in network.children() if isinstance(part, torch.nn.ModuleList)]
    blocks = [block for part in lists if len({*map(type, part)}) == 1 for block in part]
    for part in [network] if hasattr(network, "down_blocks") or not blocks else blocks:
        part.compile(dynamic=False)


def compile_vae(function: Function) -> Function:
    """Compile a VAE's encoding; its group norms want channels first, which inductor would undo."""
    compiled: Function = torch.compile(
        function, dynamic=False, options={"layout_optimization": False}
    )
    return compiled


def vae_attention(pixels: Tensor) -> AbstractContextManager[None]:
    """Choose how a VAE's middle block attends: its one head of 512 channels fits no fused kernel.

    Args:
        pixels: [B, 3, H, W]; of large ones the products would take gigabytes.
    """
    if pixels.is_cuda and pixels.shape[-1] * pixels.shape[-2] <= MATH_PIXELS:
        context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
        return context
    return nullcontext()


def graphed(function: Function) -> Function:
    """Return `function`, a map of tensors to a tensor without gradient, as CUDA graphs.

    The first call of a shape runs as it is and the second is captured. The result is overwritten
    by the next call. Where a function cannot be captured, or the GPU has no memory for that, it
    goes on as it is, with a warning.
    """
    return _with_graphs(function, _capture)


def graphed_with_gradient(function: Callable[..., T]) -> Callable[..., T]:
    """Return `function`, a differentiable map of tensors, as CUDA graphs of both passes.

    As `graphed`; what else it uses must be frozen, and gradients are overwritten, too.
    """
    return _with_graphs(function, _capture_both)


def _with_graphs(function: Callable[..., T], capture: Callable[..., Any]) -> Callable[..., T]:
    seen: set[Any] = set()
    replays: dict[Any, Callable[..., T]] = {}
    failed = False

    def call(*inputs: Tensor) -> T:
        nonlocal failed
        key = tuple((one.shape, one.dtype, one.stride(), one.requires_grad) for one in inputs)
        if key in replays:
            return replays[key](*inputs)
        if failed or key not in seen or len(replays) == MAX_GRAPHS:
            seen.add(key)
            return function(*inputs)
        try:
            _check_room(inputs[0].device)
            replays[key] = capture(function, inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            failed = True
            warnings.warn(
                f"a network cannot run as a CUDA graph ({first_line(error)}); it runs as it is,"
                " slower",
                stacklevel=2,
            )
            return function(*inputs)
        return replays[key](*inputs)

    return call


def _check_room(device: torch.device) -> None:
    """Raise a RuntimeError unless a graph can have as much memory as anything took so far.

    A capture that runs out of memory would keep what it has got.
    """
    need = torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)
    torch.cuda.empty_cache()
    if gpu_bytes(device) - torch.cuda.memory_reserved(device) < 1.2 * need:
        raise RuntimeError("too little GPU memory is left")


def _capture_both(function: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Any:
    examples = tuple(value.detach().clone().requires_grad_(value.requires_grad) for value in inputs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream")
        made: Any = torch.cuda.make_graphed_callables
        return made(function, examples, allow_unused_input=True)


def _capture(function: Function, inputs: tuple[Tensor, ...]) -> Function:
    kept = [value.clone() for value in inputs]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function(*kept)

    def replay(*inputs: Tensor) -> Tensor:
        for place, value in zip(kept, inputs, strict=True):
            place.copy_(value)
        graph.replay()
        return output

    return replay
