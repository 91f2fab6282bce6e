"""The doctor's checks of the machine and of what computes on it."""

import os
import platform
import shutil
import socket
import sys
from importlib.metadata import version
from pathlib import Path

from stabledreamer.cli.doctor_problem import Problem

NEEDED_MEMORY = 2 * 2**30  # a dream at its default settings takes less
CGROUP = Path("/sys/fs/cgroup")


def python() -> str:
    """Its version is one that all packages have wheels for."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        raise Problem(
            f"Python {platform.python_version()}; 3.11 to 3.14 is needed",
            "rm -rf .venv && make venv PYTHON=/path/to/python3.13",
        )
    return f"{platform.python_version()} on {platform.machine()}"


def torch_and_gpu() -> str:
    """Torch can use the GPU, if there is one."""
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
        return f"{torch.__version__}, CUDA {torch.version.cuda}, {device}"
    if shutil.which("nvidia-smi") is None:
        return f"{torch.__version__}, on the CPU"
    why = (
        f"was built for CUDA {torch.version.cuda}, which this driver does not offer"
        if torch.version.cuda
        else "was built without CUDA"
    )
    raise Problem(
        f"there is an NVIDIA GPU, but torch {torch.__version__} {why}",
        "install the wheel that matches the driver (docs/running.md), or set device: cpu",
    )


def threads() -> str:
    """No more threads than processors."""
    import torch

    asked, have = torch.get_num_threads(), processors()
    if asked > have:
        raise Problem(
            f"{asked} threads would share {have} processors, which is slower than {have} threads",
            f"export OMP_NUM_THREADS={have}",
        )
    return f"{asked} of {have} processors"


def processors() -> int:
    """How many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory() -> str:
    """Enough is free for a dream."""
    free = free_memory()
    if free < NEEDED_MEMORY:
        raise Problem(
            f"{free / 2**30:.1f} GB of memory are free and a dream takes up to 2 GB",
            "end other programs, or lower stage1.views and stage2.views",
        )
    return f"{free / 2**30:.1f} GB free"


def free_memory() -> int:
    """Bytes: what the system has to give, or what a container has left of its share."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        most = int((CGROUP / "memory.max").read_text())
        free = min(free, most - int((CGROUP / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        pass
    return free


def disk() -> str:
    """Outputs and Prefect's home can be written and have room."""
    from tasks.checks import check_room

    cache = Path(os.environ["PREFECT_HOME"])
    check_room(Path("outputs"), "go to another folder")
    check_room(cache, "set PREFECT_HOME to another folder")
    return f"{shutil.disk_usage('.').free // 2**30} GB free; outputs/ and {cache} can be written"


def numba_cache() -> str:
    """What numba compiles can be kept."""
    from stabledreamer_core import rasterize

    asked = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(rasterize.__file__).parent / "__pycache__"
    for folder in [Path(asked)] if asked else [beside, Path.home() / ".cache" / "numba"]:
        there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return str(folder)
    raise Problem(
        f"numba cannot write to {asked or beside}: every run would compile for half a minute",
        "export NUMBA_CACHE_DIR=/a/folder/that/can/be/written",
    )


def rasteriser(device: str = "cpu") -> str:
    """It draws one Gaussian."""
    import torch

    from stabledreamer_core.rasterize import rasterization
    from stabledreamer_core.scene.cameras import around

    views = around(1, 0.0, 3.0, 40.0, 16)
    renders, _, _ = rasterization(
        torch.zeros(1, 3, device=device),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]], device=device),
        torch.full((1, 3), 0.3, device=device),
        torch.full((1,), 0.9, device=device),
        torch.ones(1, 3, device=device),
        views.viewmats.to(device),
        views.Ks.to(device),
        16,
        16,
    )
    if not renders.max() > 0.5:
        raise Problem(f"the rasteriser draws nothing on {device}", "please report this")
    return f"draws on {device}; numba {version('numba')}"


def gsplat_on_gpu() -> str:
    """Gsplat, which compiles its CUDA part when it is first used, draws too."""
    import torch

    if not torch.cuda.is_available():
        return f"{version('gsplat')}; not used without an NVIDIA GPU"
    try:
        return f"{version('gsplat')}; {rasteriser('cuda')}"
    except Exception as error:
        nvcc = shutil.which("nvcc") or os.environ.get("CUDA_HOME")
        raise Problem(
            f"gsplat does not work on this GPU ({type(error).__name__}: {str(error)[:200]})",
            "remove ~/.cache/torch_extensions and try again, or set device: cpu"
            if nvcc
            else f"install the CUDA {torch.version.cuda} toolkit (nvcc) and a C++ compiler, "
            "or set device: cpu",
        ) from error


def loopback() -> str:
    """A server can listen on 127.0.0.1."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", 0))
        except OSError as error:
            raise Problem(
                f"cannot listen on 127.0.0.1, which Prefect needs: {error}",
                "allow loopback connections in the firewall or sandbox",
            ) from None
        return f"127.0.0.1:{listener.getsockname()[1]} is free for Prefect"
