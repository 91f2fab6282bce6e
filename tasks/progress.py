"""A progress bar: steps done, iterations a second, time left, loss."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from stabledreamer_core.optimize import Progress


@contextmanager
def progress_bar(title: str, iterations: int, show: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback for `run_stage`. Where nobody watches, a line every half minute."""
    interval = 0.25 if sys.stderr.isatty() else 30.0
    bar = tqdm(
        total=iterations, desc=title, unit="it", disable=not show, mininterval=interval,
        dynamic_ncols=True,
    )  # fmt: skip
    first = True

    def update(progress: Progress) -> None:
        nonlocal first
        if first:  # a resumed stage: its earlier steps say nothing of the rate
            bar.initial = bar.n = progress.step - 1
            first = False
        bar.set_postfix(loss=f"{progress.loss:.4f}", refresh=False)
        bar.update(progress.step - bar.n)

    with bar:
        yield update
