"""How far a stage is: a bar in the terminal, and a figure in Prefect's page."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from tqdm import tqdm

from stabledreamer.runtime import stopping
from stabledreamer.runtime.artifacts import artifact_key, best_effort
from stabledreamer.runtime.log_lines import log_progress
from stabledreamer_core.optimization.observe import Progress

FIGURES = 20  # in Prefect's page, at most, of one stage
EVERY_S = 5.0  # between two of them

Update = Callable[[Progress], None]


@contextmanager
def stage_progress(
    name: str, iterations: int, out: Path, bars: bool, figures: int = FIGURES
) -> Iterator[Update]:
    """Yield a callback for `run_stage` that shows how far a stage is, and heeds stops.

    Args:
        name: stage1 or stage2.
        out: names the figure in Prefect's page.
        bars: whether to draw a bar in the terminal.
        figures: at most so many are sent to Prefect's page.
    """
    title = name.replace("stage", "stage ")
    key = f"{artifact_key(out)}-{name.replace('stage', 'stage-')}"
    log = log_progress(title)
    with _bar(title, iterations, bars) as draw, _artifact(title, key, figures) as publish:

        def update(progress: Progress) -> None:
            draw(progress)
            publish(progress)
            log(progress)
            stopping.check()

        yield update


@contextmanager
def _bar(title: str, iterations: int, show: bool) -> Iterator[Update]:
    """Steps, rate, time left and loss. Where nobody watches, a line every half minute."""
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


@contextmanager
def _artifact(title: str, key: str, figures: int) -> Iterator[Update]:
    """A figure from 0 to 100; given up at the first error, so that a lost server costs no time."""
    artifact: UUID | None = None
    with best_effort(f"the progress of {title}"):
        artifact = cast(UUID, create_progress_artifact(0.0, key=key, description=title))
    last, sent = time.monotonic(), 0

    def update(progress: Progress) -> None:
        nonlocal artifact, last, sent
        share = figures * progress.step // progress.iterations
        due = share > sent and time.monotonic() - last > EVERY_S
        if artifact is None or not (due or progress.step == progress.iterations):
            return
        sent = share
        known, artifact = artifact, None
        with best_effort(f"the progress of {title}"):
            update_progress_artifact(known, 100.0 * progress.step / progress.iterations)
            artifact = known
        last = time.monotonic()

    yield update
