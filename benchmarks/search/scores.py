"""Scores that go on telling recipes apart where the judge's shares are all 1.

doubt: mean over eight views of -ln of the probability the judge gives the right category, colour,
    accessory and (for toys with a front) direction, together; 0 is certain.
haze: mean of 4 a (1 - a) over the opaque area of eight views; outlines alone give the true toys
    some 0.1, translucent bodies and fur more.
overlap, size: of eight views' alphas with the true toy's, both as large as the metrics make them
    (toybox/metrics/pictures.py): intersection over union, and the ratio of their areas.
"""

import torch

from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config
from toybox.captions import parse
from toybox.catalogue import CATEGORIES
from toybox.judge import load_judge
from toybox.metrics.evaluate import photograph
from toybox.metrics.judged import judge_views
from toybox.metrics.pictures import asset_camera, eight_azimuths, true_camera


def doubt(splats: Splats, prompt: str, config: Config, device: torch.device) -> float:
    """See above; the probabilities are means over the backgrounds of `config.evaluate`."""
    settings, asked = config.evaluate, parse(prompt)
    judge = load_judge(settings.judge, device)
    camera = asset_camera(splats, settings.elevation_deg, device)
    seen = judge_views(judge, photograph(camera, eight_azimuths(), settings, settings.resolution))
    answers = {
        "category": judge.labels.category.index(asked.category),
        "colour": judge.labels.colour.index(asked.colour),
        "accessory": judge.labels.accessory.index(asked.accessory or "none"),
    }
    right = [seen[name][:, index] for name, index in answers.items()]
    assert asked.category is not None
    if CATEGORIES[asked.category].has_front:
        right.append(seen["view"].diagonal())
    return -torch.stack(right).clamp(min=1e-6).log().sum(0).mean().item()


def haze(splats: Splats, config: Config, device: torch.device) -> float:
    """See above."""
    settings = config.evaluate
    camera = asset_camera(splats, settings.elevation_deg, device)
    alpha = camera(eight_azimuths(), settings.resolution).alpha
    return (4.0 * alpha * (1.0 - alpha)).sum().item() / max(alpha.sum().item(), 1.0)


def outline(splats: Splats, prompt: str, config: Config, device: torch.device) -> dict[str, float]:
    """overlap and size, see above; empty for a prompt that names no toy."""
    toy, settings = parse(prompt).toy, config.evaluate
    if toy is None:
        return {}
    elevation_deg, side = settings.elevation_deg, settings.resolution
    ours = asset_camera(splats, elevation_deg, device)(eight_azimuths(), side).alpha
    true = true_camera(toy, elevation_deg)(eight_azimuths(), side).alpha.to(ours)
    union = torch.maximum(ours, true).sum().item()
    return {
        "overlap": torch.minimum(ours, true).sum().item() / union,
        "size": ours.sum().item() / true.sum().item(),
    }
