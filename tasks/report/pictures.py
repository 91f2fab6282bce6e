"""The report's pictures as data URIs: they are all that stays where JavaScript is off."""

import base64
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stabledreamer_core.assets.mesh.read import read_glb
from stabledreamer_core.assets.turntable import THREE_QUARTER_DEG
from stabledreamer_core.errors import UserError
from stabledreamer_core.optimization.checkpoint import load_checkpoint
from stabledreamer_core.scene.cameras import around, orbit
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.scene.rendering import render_chunks, to_bytes
from stabledreamer_core.settings.output import Turntable

SIDE = 512
ELEVATION_DEG = 15.0
MARGIN = 1.15  # of the mesh's picture, about the mesh
MAX_POINTS = 65  # along a triangle's edge in it


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a URI that holds them; `kind` is their media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def webp(picture: Image.Image) -> str:
    """A picture as a data URI, with losses that one has to look for."""
    encoded = io.BytesIO()
    picture.save(encoded, format="WEBP", quality=86, method=4)
    return data_uri(encoded.getvalue(), "image/webp")


def eight_views(path: Path) -> str | None:
    """The small views of preview.png, without the large one; None where it cannot be read."""
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    width, height = picture.size
    return webp(picture.crop((height if width == 3 * height else 0, 0, width, height)))


def from_azimuth(splats: Splats, settings: Turntable, azimuth_deg: float) -> str:
    """One large view."""
    azimuth = torch.tensor([azimuth_deg])
    elevation = torch.tensor([settings.elevation_deg])
    views = orbit(azimuth, elevation, settings.distance, settings.fov_deg, SIDE)
    return webp(_tiled(splats, views, settings, 1))


def four_sides(checkpoint: Path, settings: Turntable) -> str | None:
    """Front, left, back and right of a stage's result, two by two; None where it cannot be read."""
    try:
        splats, _ = load_checkpoint(checkpoint)
    except UserError:
        return None
    views = around(4, settings.elevation_deg, settings.distance, settings.fov_deg, SIDE // 2)
    return webp(_tiled(splats, views, settings, 2))


def _tiled(splats: Splats, views: object, settings: Turntable, across: int) -> Image.Image:
    chunks = render_chunks(splats, views, settings.background, torch.device("cpu"))  # type: ignore[arg-type]
    renders = to_bytes(torch.cat([render for render, _ in chunks]))
    rows = [torch.cat(list(row), 1) for row in renders.split(across)]
    return Image.fromarray(torch.cat(rows).numpy())


def mesh(path: Path, background: tuple[float, float, float]) -> str | None:
    """mesh.glb from the same side, as points dense enough to be a surface; None if it is empty."""
    try:
        surface = read_glb(path)
    except UserError:
        return None
    if surface is None or surface.colors is None or not len(surface.faces):
        return None
    azimuth, elevation = np.deg2rad([THREE_QUARTER_DEG, ELEVATION_DEG])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    ahead = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)])
    outward = np.array([*ahead, np.sin(elevation)])
    middle = (surface.vertices.max(0) + surface.vertices.min(0)) / 2
    seen = (surface.vertices - middle) @ np.stack([right, np.cross(right, outward), outward], 1)
    scale = SIDE / 2 / (MARGIN * np.linalg.norm(seen, axis=1).max())
    seen = seen * scale + (SIDE / 2, SIDE / 2, 0)
    corners = seen[surface.faces]
    (ax, ay), (bx, by) = ((corners[:, i] - corners[:, 0])[:, :2].T for i in (1, 2))
    front = ax * by < bx * ay  # rows grow downwards
    points, colors = _filled(corners[front], surface.colors[surface.faces[front]])
    nearest_last = np.argsort(points[:, 2], kind="stable")
    column, row = np.floor(points[nearest_last, :2]).astype(int).T
    canvas = np.tile(np.asarray(background), (SIDE, SIDE, 1))
    canvas[row, column] = colors[nearest_last]
    return webp(Image.fromarray((canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)))


def _filled(corners: np.ndarray, colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points within triangles [F, 3, 3], less than a pixel apart, and their colours [P, 3]."""
    edges = np.linalg.norm((corners - np.roll(corners, 1, 1))[..., :2], axis=2).max(1)
    sizes = np.exp2(np.ceil(np.log2(np.maximum(1.4 * edges, 1)))).clip(1, MAX_POINTS - 1)
    points = []
    for size in np.unique(sizes):
        steps = np.linspace(0, 1, int(size) + 1)
        weights = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b < 1 + 1e-9])
        both = np.concatenate([corners, colors], 2)[sizes == size]
        points.append(np.einsum("kc,fcx->fkx", weights, both).reshape(-1, 6))
    every = np.concatenate([np.zeros((0, 6)), *points])
    return every[:, :3], every[:, 3:]
