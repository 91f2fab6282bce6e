"""Memory: how much was used, and smaller batches where a GPU runs out of it."""

import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from stabledreamer_core.errors import UserError

T = TypeVar("T")


def halve_on_oom(work: Callable[[int], T], size: int, what: str) -> tuple[T, int]:
    """Run `work(size)`; halve the size as long as the GPU runs out of memory.

    Args:
        work: does everything in batches of at most `size` samples; it is run again from the start
            and must give the same.
        what: names the samples in the warning.

    Returns:
        The result and the size that fitted.

    Raises:
        UserError: one sample alone does not fit.
    """
    while True:
        try:
            return work(size), size
        except torch.OutOfMemoryError:
            if size <= 1:
                raise UserError(
                    f"the GPU's memory does not hold one of the {what}; lower the resolution, the "
                    "views or the number of Gaussians, or choose a smaller prior (device: cpu works"
                    " too)"
                ) from None
        size = (size + 1) // 2
        torch.cuda.empty_cache()
        warnings.warn(
            f"out of GPU memory: going on with at most {size} {what} at once", stacklevel=2
        )


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a CPU tensor to `device`; to a GPU through pinned memory, so that nobody waits."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the peak in bytes so far: of a GPU's allocator, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
