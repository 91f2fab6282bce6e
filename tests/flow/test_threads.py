"""The number of threads stays what it was set to, in a process that starts numba's as well."""

import subprocess
import sys

import pytest

PROGRAM = """
import torch
from stabledreamer.runtime.threads import settle_threads
settle_threads()
import numba, numpy
@numba.njit(parallel=True)
def total(values):
    result = 0.0
    for i in numba.prange(len(values)):
        result += values[i]
    return result
assert total(numpy.ones(1000)) == 1000.0
print(torch.get_num_threads())
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_numba_leaves_torchs_threads_alone(threads):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == threads, done.stderr
