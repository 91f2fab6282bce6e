"""A prior's UNet run by OpenVINO instead of torch: an optional engine for CPUs.

The same network and the same weights. OpenVINO arranges the weights for the processor once, where
torch does so at every call, and knows its bfloat16 instructions better (docs/running.md has the
figures). The converted network is kept in the user's cache, as converting takes seconds.
"""

import hashlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import sha256_of
from stabledreamer_core.priors.models import load_network
from stabledreamer_core.priors.quiet import quiet
from stabledreamer_core.tensor_files import load_tensors, save_tensors

CACHE = Path.home() / ".cache" / "stabledreamer" / "openvino"
PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}

Unet = Callable[..., tuple[Tensor]]


def check_openvino(device: torch.device, dtype: torch.dtype = torch.float32) -> None:
    """Check that `engine: openvino` can run here.

    Raises:
        UserError: the device is a GPU, OpenVINO has no such dtype on CPUs, or it is not installed.
    """
    if device.type != "cpu":
        raise UserError(
            f"engine openvino is for CPUs, and the device is {device.type}: set engine to torch,"
            " or device to cpu"
        )
    if dtype not in PRECISIONS:
        name = str(dtype).removeprefix("torch.")
        raise UserError(f"engine openvino computes in float32 or bfloat16, not in {name}")
    if find_spec("openvino") is None:
        raise UserError(
            "engine openvino needs a package that is not installed:"
            " .venv/bin/pip install -c constraints.txt -e '.[openvino]', or set engine to torch"
        )


def load_openvino_unet(
    folder: Path,
    variant: str | None,
    prior_hash: str,
    levels: int = 1000,
    dtype: torch.dtype = torch.float32,
) -> Unet:
    """Load the UNet in `folder`, to be called as diffusers' own with `return_dict=False`.

    It takes a sample [B, C, H, W], timesteps [B] in [0, levels) and encoder_hidden_states
    [B, L, D], and returns (prediction,) in float32. The same call gives the same bits while
    torch's number of threads is what it was when this was called.

    Args:
        prior_hash: of the prior's files, under which the converted network is kept.
        dtype: float32, or bfloat16: products of numbers rounded to 8 bits, summed in float32.

    Raises:
        UserError: as `check_openvino` and `load_network`.
    """
    check_openvino(torch.device("cpu"), dtype)
    openvino = _import_openvino()
    core = openvino.Core()
    if dtype == torch.bfloat16 and "BF16" not in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        dtype = torch.float32
        warnings.warn("this CPU has no bfloat16: engine openvino uses float32", stacklevel=2)
    network = load_converted(folder, variant, prior_hash, levels)
    model = core.read_model(
        network["graph"].numpy().tobytes(), openvino.Tensor(network["weights"].numpy())
    )
    options = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # several runs may share the machine
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    time = network["time"]

    def unet(
        sample: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor, return_dict: bool = False
    ) -> tuple[Tensor]:
        inputs = (sample.float(), time[timesteps], encoder_hidden_states.float())
        answer = request.infer([value.contiguous().numpy() for value in inputs])
        return (torch.from_numpy(answer[0]),)

    return unet


def _import_openvino() -> Any:
    # None stands for a missing package: without this one openvino sends no usage data.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def load_converted(
    folder: Path, variant: str | None, prior_hash: str, levels: int
) -> dict[str, Tensor]:
    """Load OpenVINO's form of the UNet from the cache, or convert it now.

    Returns:
        graph, weights: bytes of OpenVINO's two files; time: [levels, C] the sines and cosines
        that stand for each timestep.
    """
    path = cache_path(prior_hash, variant)
    try:
        return load_tensors(path)[0]
    except UserError:  # not there, or damaged
        pass
    cpu = torch.device("cpu")
    network = _convert(load_network(folder, "unet", variant, torch.float32, cpu), levels)
    try:
        save_tensors(path, network, {})
    except UserError:  # where nothing can be kept, the next run converts again
        pass
    return network


def cache_path(prior_hash: str, variant: str | None) -> Path:
    """Return a converted UNet's path, keyed by its prior's files and by what converted it."""
    versions = [metadata.version(name) for name in ("openvino", "torch", "diffusers")]
    made_by = [*versions, sha256_of(Path(__file__))]
    key = hashlib.sha256("\0".join([prior_hash, str(variant), *made_by]).encode()).hexdigest()
    return CACHE / f"{key}.safetensors"


def _convert(unet: Any, levels: int) -> dict[str, Tensor]:
    """Convert a diffusers UNet, for images of its own size and any batch.

    The graph begins after the sines of the timestep: in bfloat16 a timestep of 999 is 1000.

    The batch stays open because one graph then serves all; with a fixed one, moreover, OpenVINO
    2025.4 and 2026.4 crash while they compile the bundled pixel prior in float32.
    """
    openvino = _import_openvino()
    config = unet.config
    size, width = config.sample_size, config.encoder_hid_dim or config.cross_attention_dim
    height, length = (size, size) if isinstance(size, int) else size
    width = width if isinstance(width, int) else width[0]
    time = unet.time_proj(torch.arange(levels))
    example = (
        torch.zeros(2, config.in_channels, height, length),
        time[[levels // 10, levels // 2]],
        torch.zeros(2, 77, width),
    )
    unet = unet.to(memory_format=torch.contiguous_format)
    unet.get_time_embed = lambda sample, timestep: timestep
    with quiet(), torch.no_grad():
        model = openvino.convert_model(_Positional(unet), example_input=example)
    shapes = ([-1, config.in_channels, height, length], [-1, time.shape[1]], [-1, -1, width])
    model.reshape(
        {port: openvino.PartialShape(s) for port, s in zip(model.inputs, shapes, strict=True)}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unet.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        files = {"graph": _bytes(path), "weights": _bytes(path.with_suffix(".bin"))}
    return {**files, "time": time}


def _bytes(path: Path) -> Tensor:
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)


class _Positional(nn.Module):
    """A UNet whose inputs and output are tensors alone, as tracing needs them."""

    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, time: Tensor, embeddings: Tensor) -> Tensor:
        return self.unet(sample, time, encoder_hidden_states=embeddings, return_dict=False)[0]
