"""Work that does not fit into a GPU's memory is done in smaller parts, with the same result."""

import pytest
import torch

from stabledreamer_core.errors import UserError
from stabledreamer_core.memory import halve_on_oom


def worker(limit: int, tried: list[int]):
    """Sums 0 .. 9 in parts; parts above `limit` do not fit."""

    def work(size: int) -> int:
        tried.append(size)
        parts = [range(10)[first : first + size] for first in range(0, 10, size)]
        if max(map(len, parts)) > limit:
            raise torch.OutOfMemoryError
        return sum(map(sum, parts))

    return work


def test_halves_until_it_fits() -> None:
    tried: list[int] = []
    with pytest.warns(UserWarning, match="at most 3 pictures"):
        assert halve_on_oom(worker(3, tried), 10, "pictures") == (45, 3)
    assert tried == [10, 5, 3]


def test_what_fits_is_done_at_once() -> None:
    tried: list[int] = []
    assert halve_on_oom(worker(10, tried), 10, "pictures") == (45, 10)
    assert tried == [10]


def test_one_that_does_not_fit_is_a_clear_error() -> None:
    with pytest.warns(UserWarning), pytest.raises(UserError, match="one of the pictures"):
        halve_on_oom(worker(0, []), 4, "pictures")
