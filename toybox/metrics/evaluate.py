"""How well an asset is what its prompt asked for: the figures under `metrics` in run.json.

Each figure's own function says what it means and how it can mislead; docs/metrics.md has them all
in one table, with what they say of true toys and of toys broken on purpose.

| keys | where | for |
|---|---|---|
| category, colour, accessory, accessory_colour | judged.py | Toybox |
| view, view_exact, multi_face, frontal | judged.py | Toybox, what has a front |
| r_precision | retrieval.py | Toybox |
| chamfer, f_score, normal_consistency, volume_ratio | surfaces.py | Toybox, with a mesh |
| colour_error, detail | colour.py, detail.py | Toybox |
| prior_view, prior_fronts, prior_front_arcs, prior_multi_face | view_classifier.py | any; on wish |
| prior_agreement | view_classifier.py | Toybox; on wish |
| clip_score, clip_r_precision | clip.py | any; on wish |

What does not apply is None. How much figures differ between seeds, and how rough a loss curve is,
stability.py says from finished records.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.output import Evaluate
from toybox.metrics.colour import colour_error
from toybox.metrics.detail import detail
from toybox.metrics.judged import judge_views, judged_figures
from toybox.metrics.pictures import Camera, asset_camera, eight_azimuths, true_camera
from toybox.metrics.retrieval import judge_ranks, r_precision, rivals

if TYPE_CHECKING:
    from toybox.captions import Parsed

SURFACE_NAMES = ("chamfer", "f_score", "normal_consistency", "volume_ratio")
NAMES = (
    *("category", "colour", "accessory", "accessory_colour", "view", "view_exact"),
    *("multi_face", "frontal", "r_precision", *SURFACE_NAMES, "colour_error", "detail"),
    *("prior_view", "prior_fronts", "prior_front_arcs", "prior_multi_face", "prior_agreement"),
    *("clip_score", "clip_r_precision"),
)

Figures = dict[str, float | None]


def evaluate(
    splats: Splats,
    prompt: str,
    settings: Evaluate,
    device: torch.device,
    mesh_path: Path | None = None,
) -> Figures:
    """The figures of one asset, `NAMES` in order; see this module's text.

    Args:
        splats: as optimised.
        mesh_path: its GLB; without one, or with an empty one, its figures are None, and neither
            open3d nor trimesh is needed.

    Raises:
        UserError: the judge, a prior or a CLIP model is missing or damaged, or the mesh cannot be
            read.
    """
    camera = asset_camera(splats, settings.elevation_deg, device)
    return evaluate_views(camera, prompt, settings, device, mesh_path)


def evaluate_views(
    camera: Camera,
    prompt: str,
    settings: Evaluate,
    device: torch.device,
    mesh_path: Path | None = None,
) -> Figures:
    """As `evaluate`, of anything that pictures can be taken of: a true toy, a radiance field.

    Args:
        camera: sees the object from `settings.elevation_deg`, its pictures on `device`.
    """
    from toybox.captions import parse

    figures: Figures = dict.fromkeys(NAMES)
    asked = parse(prompt)
    judged_view = None
    if asked.category is not None:
        judged, judged_view = _judged(camera, prompt, asked, settings, device)
        figures |= judged | _against_true_pictures(camera, asked, settings)
        if mesh_path is not None:
            figures |= _against_true_surface(mesh_path, asked, settings)
    if settings.view_classifier and _may_have_front(asked):
        figures |= _classified(camera, prompt, settings, device, judged_view)
    if settings.clip is not None:
        figures |= _clipped(camera, prompt, settings, settings.clip, device)
    return figures


def photograph(camera: Camera, azimuth_deg: Tensor, settings: Evaluate, size: int) -> Tensor:
    """Pictures [B, V, 3, size, size] in [0, 1], on each of the B backgrounds of the settings."""
    pictures = camera(azimuth_deg, size)
    return torch.stack([pictures.on(background) for background in settings.backgrounds])


def _judged(
    camera: Camera, prompt: str, asked: Parsed, settings: Evaluate, device: torch.device
) -> tuple[Figures, Tensor]:
    """What the judge says, and its probabilities [8, 8] of each view's direction."""
    from toybox.judge import load_judge

    judge = load_judge(settings.judge, device)

    def look(azimuth_deg: Tensor) -> Tensor:
        return photograph(camera, azimuth_deg, settings, settings.resolution)

    seen = judge_views(judge, look(eight_azimuths()))
    figures = judged_figures(judge, asked, seen, look, settings.front_views)
    ranks = judge_ranks(seen, judge.labels, prompt, rivals(prompt, settings.retrieval_prompts))
    figures["r_precision"] = None if ranks is None else r_precision(ranks)
    return figures, seen["view"]


def _against_true_pictures(camera: Camera, asked: Parsed, settings: Evaluate) -> Figures:
    """Nothing where the world has no such toy, such as a bear of no stated colour."""
    if asked.toy is None:
        return {}
    true = true_camera(asked.toy, settings.elevation_deg)
    ours, theirs = (look(eight_azimuths(), settings.resolution).cpu() for look in (camera, true))
    return {"colour_error": colour_error(ours, theirs), "detail": detail(ours, theirs)}


def _against_true_surface(mesh_path: Path, asked: Parsed, settings: Evaluate) -> Figures:
    """The mesh against the mean shape of what was asked for.

    Nothing where the mesh is empty, or the world has no such toy (a car wearing a scarf).
    """
    from stabledreamer_core.metrics.alignment import ALL_TURNS_DEG, SMALL_TURNS_DEG
    from stabledreamer_core.metrics.surfaces import load_surface, surface_metrics
    from toybox.catalogue import CATEGORIES, all_toys
    from toybox.mesh import true_mesh

    shape = (asked.category, asked.accessory)  # colours do not change it
    toy = next((toy for toy in all_toys() if (toy.category, toy.accessory) == shape), None)
    mesh = load_surface(mesh_path)
    if toy is None or mesh is None:
        return {}
    turns_deg = SMALL_TURNS_DEG if CATEGORIES[toy.category].has_front else ALL_TURNS_DEG
    return surface_metrics(
        mesh, true_mesh(toy), settings.surface_samples, settings.f_score_threshold, turns_deg
    )


def _may_have_front(asked: Parsed) -> bool:
    """False for Toybox's toys that look alike from all sides."""
    from toybox.catalogue import CATEGORIES

    return asked.category is None or CATEGORIES[asked.category].has_front


def _classified(
    camera: Camera,
    prompt: str,
    settings: Evaluate,
    device: torch.device,
    judged_view: Tensor | None,
) -> Figures:
    """What the prior itself takes the eight views for, on the first background."""
    from stabledreamer_core.metrics import view_classifier as views
    from stabledreamer_core.priors import load_prior
    from toybox.judge import ROOT

    asks = settings.view_prior
    prior = load_prior(
        asks.prior,
        revision=asks.revision,
        variant=asks.variant,
        dtype=asks.dtype,
        device=device,
        base=ROOT,
    )
    images = camera(eight_azimuths(), prior.resolution).on(settings.backgrounds[0])
    best = views.classify_sides(
        prior, images, prompt, asks.view_words, asks.noise_levels, asks.noises
    ).best
    true = views.true_words(eight_azimuths(), settings.elevation_deg, asks.view_words)
    return {
        "prior_view": views.accuracy(best, true),
        "prior_fronts": views.front_share(best),
        "prior_front_arcs": float(views.front_arcs(best)),
        "prior_multi_face": float(views.has_second_face(best)),
        "prior_agreement": None
        if judged_view is None
        else views.agreement(best, judged_view, settings.elevation_deg, asks.view_words),
    }


def _clipped(
    camera: Camera, prompt: str, settings: Evaluate, source: str, device: torch.device
) -> Figures:
    """What CLIP says of the eight views, on the first background."""
    from stabledreamer_core.metrics.clip import clip_metrics, load_clip
    from toybox.judge import ROOT

    clip = load_clip(source, device, ROOT)
    images = camera(eight_azimuths(), clip.resolution).on(settings.backgrounds[0])
    return clip_metrics(clip, images, prompt, rivals(prompt, settings.retrieval_prompts))
