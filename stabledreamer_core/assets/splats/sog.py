"""SOG (Spatially Ordered Gaussians), version 2: PlayCanvas' format of WebP images in a ZIP file.

Every image has a pixel a Gaussian. Written after the format's specification:
https://developer.playcanvas.com/user-manual/gaussian-splatting/formats/sog/
"""

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stabledreamer_core.assets.splats.as_gsply import from_gsply
from stabledreamer_core.assets.splats.frames import VIEWER, inverse, rotate
from stabledreamer_core.assets.splats.ply import to_cpu, to_sh
from stabledreamer_core.files import atomic_write
from stabledreamer_core.scene.gaussians import Splats

MORTON_BITS = 10  # an axis
QUAT_TAG = 252  # of a packed quaternion, plus the index of the component left out


def save_sog(splats: Splats, path: Path) -> None:
    """Write the finite Gaussians upright in viewers (frames.py), at least one.

    Positions keep 16 bits an axis, on a logarithmic scale; the rest 8 bits a number.

    Raises:
        UserError: `path` cannot be written.
    """
    splats = rotate(to_cpu(splats), VIEWER)
    order = morton_order(splats["means"].numpy())
    columns = {key: value.numpy()[order] for key, value in splats.items()}
    positions, low, high = _positions(columns["means"])
    scales, scale_codebook = _coded(columns["scales"])
    colors, color_codebook = _coded(to_sh(torch.from_numpy(columns["colors"])).numpy())
    opacities = torch.from_numpy(columns["opacities"]).sigmoid().numpy()
    images = {
        "means_l.webp": positions & 255,
        "means_u.webp": positions >> 8,
        "quats.webp": _packed_quats(columns["quats"]),
        "scales.webp": scales,
        "sh0.webp": np.concatenate([colors, np.rint(255 * opacities)[:, None]], 1),
    }
    meta = {
        "version": 2,
        "asset": {"generator": "StableDreamer"},
        "count": len(order),
        "antialias": False,
        "means": {"mins": low, "maxs": high, "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": scale_codebook, "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": color_codebook, "files": ["sh0.webp"]},
    }
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as bundle:
        bundle.writestr("meta.json", json.dumps(meta))
        for name, values in images.items():
            bundle.writestr(name, _webp(values))


def load_sog(path: Path) -> Splats:
    """Read a SOG bundle into our world frame, with gsply; higher harmonics are dropped."""
    from gsply.sog_reader import sogread

    return rotate(from_gsply(sogread(str(path))), inverse(VIEWER))


def _positions(means: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
    """sign(x) ln(1 + |x|) as 16 bits [N, 3] between the least and the largest value [3]."""
    logs = np.sign(means) * np.log1p(np.abs(means.astype(np.float64)))
    low, high = logs.min(0), logs.max(0)
    steps = 65535 * (logs - low) / np.where(high > low, high - low, 1.0)
    return np.rint(steps).astype(int), low.tolist(), high.tolist()


def _coded(values: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Indices [N, 3] into a codebook of 256 equal steps from the least to the largest value."""
    codebook = np.linspace(values.min(), values.max(), 256, dtype=np.float64)
    step = codebook[1] - codebook[0]
    indices = np.rint((values - codebook[0]) / step) if step > 0 else np.zeros_like(values)
    return indices, codebook.tolist()


def _packed_quats(quats: np.ndarray) -> np.ndarray:
    """The three smaller components [N, 3] in 8 bits, and which one is left out [N, 1]."""
    quats = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    largest = np.abs(quats).argmax(1)
    rows = np.arange(len(quats))
    quats = quats * np.where(quats[rows, largest] < 0, -1.0, 1.0)[:, None]
    others = np.ones_like(quats, bool)
    others[rows, largest] = False
    smaller = quats[others].reshape(-1, 3) * math.sqrt(2)  # each at most 1
    return np.concatenate([np.rint(127.5 * (smaller + 1)), QUAT_TAG + largest[:, None]], 1)


def morton_order(means: np.ndarray) -> np.ndarray:
    """Neighbours in space become neighbours in the images, which then compress better."""
    low, high = means.min(0), means.max(0)
    cells = (means - low) / np.maximum(high - low, 1e-12) * (2**MORTON_BITS - 1)
    axes = cells.astype(np.int64).T
    codes = np.zeros(len(means), np.int64)
    for bit in range(MORTON_BITS):
        for axis, cell in enumerate(axes):
            codes |= ((cell >> bit) & 1) << (3 * bit + axis)
    return np.argsort(codes, kind="stable")


def _webp(values: np.ndarray) -> bytes:
    """Values [N, 3 or 4] in 0..255 as a lossless image, the rest of which is filled up."""
    width = 4 * math.ceil(math.sqrt(len(values)) / 4)
    height = 4 * math.ceil(len(values) / width / 4)
    pixels = np.full((width * height, 4), 255, np.uint8)
    pixels[: len(values), : values.shape[1]] = values
    content = io.BytesIO()
    picture = Image.fromarray(pixels.reshape(height, width, 4))
    picture.save(content, format="WEBP", lossless=True, exact=True)  # also where alpha is 0
    return content.getvalue()
