"""The five trainings by name, and the scoring of what they leave."""

import time
from pathlib import Path

import torch

from toybox.judge import load_judge
from toybox.training.card import write_card
from toybox.training.evaluate import (
    judge_figures,
    means,
    sample,
    vae_figures,
    verdicts,
    wishes,
)
from toybox.training.figures import record
from toybox.training.flow import train_flow
from toybox.training.judging import train_judge
from toybox.training.latent import train_latent
from toybox.training.pixel import train_pixel
from toybox.training.settings import Training
from toybox.training.sheet import contact_sheet
from toybox.training.vae import train_vae

TRAINERS = {
    "pixel": train_pixel,
    "flow": train_flow,
    "vae": train_vae,
    "latent": train_latent,
    "judge": train_judge,
}
FOLDERS = {
    "pixel": "toybox-if",
    "flow": "toybox-flow",
    "vae": "toybox-sd",
    "latent": "toybox-sd",
    "judge": "toybox-judge",
}
JUDGED = ("category", "colour", "accessory", "view")


def score(
    what: str, settings: Training, priors: Path, images: Path, device: torch.device
) -> dict[str, object]:
    """Measure one prior; write its figures and its card, and for a diffusion prior its sheet.

    Args:
        what: "judge", "vae", "if", "flow" or "sd".
        priors, images: folders of the priors and of the contact sheets.
    """
    start = time.monotonic()
    judge_folder = (priors / "toybox-judge").absolute()
    folder = priors / ("toybox-sd" if what == "vae" else f"toybox-{what}")
    found: dict[str, object]
    if what == "judge":
        found = judge_figures(
            load_judge(judge_folder, device), settings, device, 8 * settings.samples.count
        )
    elif what == "vae":
        found = dict(vae_figures(folder, settings, device, settings.samples.count))
    else:
        found = score_samples(what, settings, priors, images, device)
    record(folder, "judge" if what == "judge" else what, found)
    write_card(folder)
    print(f"[samples] {what}: {found} ({time.monotonic() - start:.0f} s)", flush=True)
    return found


def score_samples(
    what: str, settings: Training, priors: Path, images: Path, device: torch.device
) -> dict[str, object]:
    """Sample held-out toys from eight directions, judge them, draw the contact sheet."""
    options = settings.samples
    judge = load_judge((priors / "toybox-judge").absolute(), device)
    wished = wishes(options.count)
    pictures = sample(
        what, priors / f"toybox-{what}", [wish.prompt for wish in wished], options, device
    )
    table = verdicts(judge(pictures), wished, judge)
    right = torch.stack([table[name] != 0 for name in JUDGED]).all(0).tolist()
    shown = min(options.sheet, options.count)
    if shown:
        contact_sheet(
            pictures[:shown],
            [wish.prompt for wish in wished[:shown]],
            right[:shown],
            images / f"priors-{what}.png",
        )
    return {
        "samples": options.count,
        "guidance_scale": options.guidance_scale,
        "steps": options.steps,
        **means(table),
    }
