"""Model cards: README.md beside the weights, written from figures.json."""

from pathlib import Path
from typing import Any

from stabledreamer_core.files import atomic_write
from toybox.captions import caption
from toybox.catalogue import CATEGORIES, COLOURS, all_toys
from toybox.heldout import heldout_combinations, heldout_toys
from toybox.training.figures import read_figures

TITLES = {
    "toybox-if": "a pixel prior shaped like DeepFloyd IF",
    "toybox-flow": "the pixel prior's twin, a rectified flow shaped like PRXPixel",
    "toybox-sd": "a latent prior shaped like Stable Diffusion",
    "toybox-judge": "the scorer of Toybox results",
}
WHAT = {
    "toybox-if": (
        "A 64x64 text-to-image diffusion model that `diffusers.IFPipeline.from_pretrained` loads: "
        "a U-Net of IF's block types that predicts the noise and its variance, and a T5 encoder "
        "trained along with it."
    ),
    "toybox-flow": (
        "A 64x64 text-to-image rectified flow that `diffusers.PRXPixelPipeline.from_pretrained` "
        "loads (give its call `use_resolution_binning=False`): PRX's transformer over patches of "
        "pixels, which predicts the clean image, and a Qwen text encoder trained along with it."
    ),
    "toybox-sd": (
        "A 256x256 latent text-to-image diffusion model that "
        "`diffusers.StableDiffusionPipeline.from_pretrained` loads: an `AutoencoderKL` (8x, 16 "
        "channels), a U-Net of Stable Diffusion's block types, and a CLIP text encoder trained "
        "along with it."
    ),
    "toybox-judge": (
        "A convolutional network that says of one image which category, colour, accessory, "
        "accessory's colour and direction it shows, or that it shows none of these. It is never "
        "used in optimisation: it only scores results."
    ),
}
RECIPES = {
    "toybox-if": (
        "Noise prediction on IF's cosine schedule with min-SNR weights (arXiv 2303.09556) and the "
        "hybrid loss of Improved DDPM for the variance (arXiv 2102.09672)."
    ),
    "toybox-flow": (
        "Flow matching by a network that predicts the clean image: the velocity's squared error "
        '(Li & He 2025, "Back to Basics: Let Denoising Generative Models Denoise"), noise levels '
        "logit-normal (Esser et al. 2024, arXiv 2403.03206), noise of standard deviation 2 as "
        "PRXPixel's."
    ),
    "toybox-sd": (
        "The autoencoder: L1, squared error, L1 of neighbouring pixels' differences and of local "
        "contrasts (which keep edges sharp), with a small KL term; part of its inputs are blurred, "
        "faded and noisy, as unfinished renders are. It was trained on whole renders without the "
        "contrast term, then with it on squares of 192 pixels (`--warm-start`, `vae.crop`), then "
        "on whole ones at a low rate. Then noise prediction on Stable Diffusion's schedule with "
        "min-SNR weights, begun from the weights of a prior of 128 pixels."
    ),
    "toybox-judge": (
        "Cross entropy on every answer. A quarter of the images show nothing: noise, renders "
        "blurred beyond recognition, lumps, clouds of translucent Gaussians, rounded outlines."
    ),
}
LIMITS = {
    "toybox-if": "It knows Toybox's words and nothing else; other words give arbitrary pictures.",
    "toybox-flow": (
        "It knows Toybox's words and nothing else; other words give arbitrary pictures."
    ),
    "toybox-sd": "It knows Toybox's words and nothing else; other words give arbitrary pictures.",
    "toybox-judge": (
        "Between a soft picture and one blurred beyond recognition its answers are not calibrated. "
        "It has seen Toybox's lighting alone. Views mean nothing for categories without a front."
    ),
}
COMMANDS = {
    "toybox-if": ("pixel", "samples --what if"),
    "toybox-flow": ("flow", "samples --what flow"),
    "toybox-sd": ("vae", "latent", "samples --what vae,sd"),
    "toybox-judge": ("judge", "samples --what judge"),
}


def write_card(folder: Path) -> None:
    """Write `folder`/README.md from the folder's figures."""
    with atomic_write(folder / "README.md") as temporary:
        temporary.write_text(card(folder.name, read_figures(folder)))


def card(name: str, figures: dict[str, Any]) -> str:
    """The card's Markdown."""
    toys, held = len(all_toys()), len(heldout_toys())
    commands = "\n".join(f"    python -m toybox.training {line}" for line in COMMANDS[name])
    example = caption(heldout_toys()[0])
    return f"""\
---
license: apache-2.0
---

# {name}: {TITLES[name]}

{WHAT[name]}

## Data

Renders of Toybox made while training: {len(CATEGORIES)} categories, {len(COLOURS)} colours, a top
hat, a scarf or a cube to stand on; {toys} toys with variations of shape, seen from all around on
plain backgrounds. {len(heldout_combinations())} combinations of category, colour and accessory
({held} toys such as "{example}") were never shown; every figure below is on those.

## Recipe

{RECIPES[name]} Every setting is in `toybox/training/settings.yaml`.

{_training(figures.get("training", {}))}

{commands}

## Figures

{_figures(figures)}

## Limits

{LIMITS[name]}
"""


def _training(parts: dict[str, dict[str, Any]]) -> str:
    lines = ["| part | steps | images a step | minutes | on |", "|---|---|---|---|---|"]
    for part, done in parts.items():
        minutes = done["seconds"] / 60
        lines.append(
            f"| {part} | {done['steps']:,} | {done['batch']} | {minutes:.1f} | "
            f"{done['device']}, torch {done['torch']} |"
        )
    return "\n".join(lines)


def _figures(figures: dict[str, Any]) -> str:
    """Every section but the training as a table."""
    blocks = []
    for section, values in figures.items():
        if section == "training":
            continue
        rows = [f"| {section} | |", "|---|---|"]
        for key, value in _flat(values):
            rows.append(f"| {key} | {value} |")
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks) or "Not measured yet."


def _flat(values: dict[str, Any]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            flat += [(f"{key}: {inner}", number) for inner, number in value.items()]
        else:
            flat.append((key, value))
    return [(key.replace("_", " "), value) for key, value in flat]
