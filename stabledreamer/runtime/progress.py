"""How far a run is: words and a bar in the terminal, and a figure in Prefect's page."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from tqdm import tqdm

from stabledreamer.runtime import live, stopping
from stabledreamer.runtime.artifacts import artifact_key, best_effort
from stabledreamer.runtime.log_lines import log_progress
from stabledreamer_core.distillation.annealing import timestep_range
from stabledreamer_core.optimization.observe import Progress
from stabledreamer_core.settings.stage import Stage, StageName

WORDS = {  # what each step does
    "stage1": "geometry",
    "checkpoint1": "stage 1 read back",
    "stage2": "colour and detail",
    "checkpoint2": "stage 2 read back",
    "gaussians": "Gaussians for other viewers",
    "turntable": "a video of one turn",
    "preview": "a picture from all sides",
    "mesh": "a closed, coloured surface",
    "export": "the formats that were asked for",
    "evaluate": "how well it fits the prompt",
}
FIGURES = 20  # in Prefect's page, at most, of one stage
LONGEST_NAME = 28  # characters of a prior's
EVERY_S = 5.0  # between two of them

Update = Callable[[Progress], None]


@contextmanager
def stage_progress(
    name: StageName, stage: Stage, out: Path, bars: bool, figures: int = FIGURES
) -> Iterator[Update]:
    """Yield a callback for `run_stage` that shows how far a stage is, and heeds stops.

    Args:
        out: names the figure in Prefect's page.
        bars: whether to draw a bar in the terminal.
        figures: at most so many are sent to Prefect's page.
    """
    title = name.replace("stage", "stage ")
    key = f"{artifact_key(out)}-{name.replace('stage', 'stage-')}"
    log = log_progress(title)
    if bars:
        print(headline(name, stage), file=sys.stderr, flush=True)
    with _bar(title, stage, bars) as draw, _artifact(title, key, figures) as publish:

        def update(progress: Progress) -> None:
            draw(progress)
            publish(progress)
            log(progress)
            stopping.check()

        yield update


def headline(name: StageName, stage: Stage) -> str:
    """What a stage is about to do, in a line."""
    title, prior = name.replace("stage", "stage "), Path(stage.prior).name[:LONGEST_NAME]
    first, last = (f"{highest_noise(stage, progress):.2f}" for progress in (0.0, 1.0))
    return f"{title}: {WORDS[name]} from {prior}, noise {first} -> {last}"


def highest_noise(stage: Stage, progress: float) -> float:
    """The upper end of the noise level at `progress` in [0, 1] through a stage."""
    annealing = stage.annealing
    return timestep_range(annealing.schedule, progress, annealing.t_min, annealing.t_max)[1]


@contextmanager
def step_shown(step: str, show: bool) -> Iterator[None]:
    """Say in a terminal what is being done, until it is; stages have their bars."""
    if step in WORDS and not step.startswith("stage"):
        live.say(f"{step}: {WORDS[step]}")
    shown = show and sys.stderr.isatty() and not step.startswith("stage")
    if shown:
        print(f"  {step:12s} {WORDS.get(step, '')} ...", end="\r", file=sys.stderr, flush=True)
    yield
    if shown:
        print("\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def _bar(title: str, stage: Stage, show: bool) -> Iterator[Update]:
    """Steps, rate, time left, loss and noise. Where nobody watches, a line every half minute."""
    interval = 0.25 if sys.stderr.isatty() else 30.0
    bar = tqdm(
        total=stage.iterations, desc=title, unit="it", disable=not show, mininterval=interval,
        dynamic_ncols=True,
    )  # fmt: skip
    first = True

    def update(progress: Progress) -> None:
        nonlocal first
        if first:  # a resumed stage: its earlier steps say nothing of the rate
            bar.initial = bar.n = progress.first
            first = False
            if progress.first and show:
                tqdm.write(f"{title} goes on at step {progress.first}", file=sys.stderr)
        noise = highest_noise(stage, progress.step / progress.iterations)
        bar.set_postfix_str(f"loss {progress.loss:.4f}, noise {noise:.2f}", refresh=False)
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
