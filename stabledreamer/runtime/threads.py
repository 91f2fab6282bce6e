"""How many threads compute: as many as torch was told, from the first step to the last."""

import numba
import torch


def settle_threads() -> None:
    """Start numba's threads now, and keep torch's number as it is.

    When numba's OpenMP starts, it sets the number that torch shares to that of the machine's
    processors. Sums in another number of threads have other bits: a run resumed in stage 2 would
    read its prompt with other bits than one that came there from stage 1.
    """
    threads = torch.get_num_threads()
    numba.get_num_threads()
    torch.set_num_threads(threads)
