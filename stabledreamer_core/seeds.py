"""Random numbers that depend on (seed, stage, step, purpose) alone.

No generator lives from one step to the next, so a run resumed at step k draws exactly what it would
have drawn, with no state to save.
"""

import hashlib

import torch


def derive_seed(*parts: int | str) -> int:
    """Hash any parts to a 63-bit seed, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator seeded by `parts`; on the CPU unless much is drawn on another device."""
    return torch.Generator(device).manual_seed(derive_seed(*parts))
