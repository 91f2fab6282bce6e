"""Train the bundled priors: judge, pixel prior, its flow twin, autoencoder, latent prior; score.

    python -m flows.priors

The same functions as `python -m toybox.training`, as Prefect tasks. A training that was stopped
goes on where it was. On several GPUs use that command, one process a GPU (docs/priors.md).
"""

import time
from pathlib import Path
from typing import Any

from prefect import flow, task

from stabledreamer.runtime.server import prefect_server
from toybox.training.device import keep_compiled, pick_device
from toybox.training.loop import Slice
from toybox.training.parts import FOLDERS, TRAINERS, score
from toybox.training.settings import SETTINGS, load_training


@task(task_run_name="train-{part}", persist_result=False)
def train(
    part: str, params: Path, overrides: list[str], priors: Path, work: Path, minutes: float | None
) -> dict[str, float]:
    """Train one part for a slice of at most `minutes`; returns where it stands."""
    keep_compiled(work / part)
    deadline = None if minutes is None else time.monotonic() + 60.0 * minutes
    counters = TRAINERS[part](
        load_training(params, overrides),
        Slice(work / part, deadline),
        pick_device("auto"),
        priors / FOLDERS[part],
    )
    return {"step": counters.step, "seconds": counters.train_seconds}


@task(task_run_name="score-{what}", persist_result=False)
def measure(
    what: str, params: Path, overrides: list[str], priors: Path, images: Path
) -> dict[str, Any]:
    """Score one prior on held-out toys; writes its figures, card and contact sheet."""
    return score(what, load_training(params, overrides), priors, images, pick_device("auto"))


@flow(name="priors", log_prints=True)
def train_priors(
    params: str = str(SETTINGS),
    overrides: list[str] | None = None,
    priors: str = "priors",
    work: str = ".cache/training",
    images: str = "docs/images",
    minutes: float | None = None,
) -> dict[str, Any]:
    """Train and score all bundled priors.

    Args:
        params: the file whose section `training` holds every setting.
        overrides: settings as "pixel.optim.steps=100", laid over it.
        priors: where the priors go; `work`: training states; `images`: contact sheets.
        minutes: the longest one part may take; None trains each to the end.
    """
    common = (Path(params), overrides or [])
    folders = (Path(priors), Path(work))
    # 1. Train; one device, so one part after another.
    for part in ("judge", "pixel", "flow", "vae", "latent"):
        train(part, *common, *folders, minutes)
    # 2. Score: the judge first, since the others are judged by it.
    return {
        what: measure(what, *common, Path(priors), Path(images))
        for what in ("judge", "vae", "if", "flow", "sd")
    }


if __name__ == "__main__":
    with prefect_server():
        train_priors()
