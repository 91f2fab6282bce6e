"""Two scores that go on telling recipes apart where the judge's shares are all 1.

doubt: mean over eight views of -ln of the probability the judge gives the right category, colour,
    accessory and (for toys with a front) direction, together; 0 is certain.
haze: mean of 4 a (1 - a) over the opaque area of eight views; outlines alone give the true toys
    some 0.1, translucent bodies and fur more.
"""

import torch

from stabledreamer_core.cameras import orbit
from stabledreamer_core.config import Config
from stabledreamer_core.gaussians import Splats
from stabledreamer_core.metrics import DISTANCE, FOV_DEG, photographer
from stabledreamer_core.rendering import render_chunks
from toybox.captions import parse
from toybox.catalogue import CATEGORIES
from toybox.judge import load_judge

VIEWS = 8


def doubt(splats: Splats, prompt: str, config: Config, device: torch.device) -> float:
    """See above; the probabilities are means over the backgrounds of `config.evaluate`."""
    judge, asked = load_judge(config.evaluate.judge, device), parse(prompt)
    azimuth_deg = torch.arange(VIEWS) * (360.0 / VIEWS)
    pictures = photographer(splats, config.evaluate, device)(azimuth_deg)
    seen = vars(judge(pictures.flatten(0, 1)))
    labels = judge.labels
    answers = {
        "category": labels.category.index(asked.category),
        "colour": labels.colour.index(asked.colour),
        "accessory": labels.accessory.index(asked.accessory or "none"),
    }
    rows = [seen[name].reshape(-1, VIEWS, seen[name].shape[-1]).mean(0) for name in answers]
    right = [row[:, index] for row, index in zip(rows, answers.values(), strict=True)]
    assert asked.category is not None
    if CATEGORIES[asked.category].has_front:
        view = seen["view"].reshape(-1, VIEWS, VIEWS).mean(0)
        right.append(view.diagonal())
    return -torch.stack(right).clamp(min=1e-6).log().sum(0).mean().item()


def haze(splats: Splats, config: Config, device: torch.device) -> float:
    """See above."""
    azimuth_deg = torch.arange(VIEWS) * (360.0 / VIEWS)
    elevation_deg = torch.full_like(azimuth_deg, config.evaluate.elevation_deg)
    views = orbit(azimuth_deg, elevation_deg, DISTANCE, FOV_DEG, config.evaluate.resolution)
    alphas = torch.cat([a for _, a in render_chunks(splats, views, (0.0, 0.0, 0.0), device)])
    return (4.0 * alphas * (1.0 - alphas)).sum().item() / max(alphas.sum().item(), 1.0)
