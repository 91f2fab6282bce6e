"""stabledreamer doctor: is everything there that a dream needs, and if not, what to do."""

import argparse
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stabledreamer_core.errors import UserError


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this installation",
        description="Check Python, torch and its GPU, the rasteriser, the priors, disk and ports.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a line a check; 0 if a dream can run, else 2."""
    failed = 0
    for name, check in CHECKS.items():
        try:
            print(f"ok       {name:12s} {check()}", flush=True)
        except UserError as error:
            failed += 1
            print(f"PROBLEM  {name:12s} {' '.join(str(error).split())}", flush=True)
        except Exception as error:
            failed += 1
            print(f"PROBLEM  {name:12s} {type(error).__name__}: {error}", flush=True)
    print("all is well" if not failed else f"{failed} problem(s); a dream may fail")
    return 2 if failed else 0


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        raise UserError(f"Python {platform.python_version()}; 3.11 or 3.12 is needed")
    return f"{platform.python_version()} on {platform.machine()}"


def _torch() -> str:
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
        return f"{torch.__version__}, CUDA {torch.version.cuda}, {device}"
    if shutil.which("nvidia-smi") is None:
        return f"{torch.__version__}, on the CPU ({torch.get_num_threads()} threads)"
    why = (
        f"was built for CUDA {torch.version.cuda}, which this driver does not offer"
        if torch.version.cuda
        else "was built without CUDA"
    )
    raise UserError(
        f"there is an NVIDIA GPU, but torch {torch.__version__} {why}; "
        "install the wheel that matches the driver (see docs/running.md), or set device: cpu"
    )


def _rasterizer() -> str:
    from importlib.metadata import version

    import torch

    from stabledreamer_core.cameras import around
    from stabledreamer_core.rasterize import rasterization

    views = around(1, 0.0, 3.0, 40.0, 16)
    renders, _, _ = rasterization(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.full((1, 3), 0.3),
        torch.full((1,), 0.9),
        torch.ones(1, 3),
        views.viewmats,
        views.Ks,
        16,
        16,
    )
    if not renders.max() > 0.5:
        raise UserError("the CPU rasteriser draws nothing; please report this")
    return f"CPU backend draws; gsplat {version('gsplat')}, numba {version('numba')}"


def _priors() -> str:
    from stabledreamer_core.config import ROOT, load_config
    from stabledreamer_core.priors.identity import check_manifest
    from stabledreamer_core.priors.source import find_folder

    config = load_config()
    for stage in (config.stage1, config.stage2):
        folder = find_folder(stage.prior, stage.revision, stage.variant, ROOT)
        check_manifest(folder)
    return f"{config.stage1.prior} and {config.stage2.prior} are whole"


def _video() -> str:
    import imageio_ffmpeg

    return f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}"


def _disk() -> str:
    from flows.checks import check_room

    cache = Path(os.environ["PREFECT_HOME"])
    check_room(Path("outputs"), "go to another folder")
    check_room(cache, "set PREFECT_HOME to another folder")
    return f"{shutil.disk_usage('.').free // 2**30} GB free; outputs/ and {cache} can be written"


def _port() -> str:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", 0))
        except OSError as error:
            raise UserError(f"cannot listen on 127.0.0.1, which Prefect needs: {error}") from None
        return f"127.0.0.1:{listener.getsockname()[1]} is free for Prefect"


CHECKS: dict[str, Callable[[], str]] = {
    "python": _python,
    "torch": _torch,
    "rasteriser": _rasterizer,
    "priors": _priors,
    "video": _video,
    "disk": _disk,
    "port": _port,
}
