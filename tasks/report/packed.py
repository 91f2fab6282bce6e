"""The Gaussians in 16 bytes each: what report.html shows, and a file that viewers open.

The compressed PLY of PlayCanvas: in chunks of 256 Gaussians each number stands between the
chunk's least and largest. Written here because gsply, which writes it for `export`, is optional.
"""

import numpy as np
import torch

from stabledreamer_core.assets.splats.frames import VIEWER, rotate
from stabledreamer_core.assets.splats.ply import UPRIGHT, to_cpu
from stabledreamer_core.assets.splats.sog import morton_order
from stabledreamer_core.scene.gaussians import Splats

CHUNK = 256
SUFFIXES = ("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b")
BOUNDS = [f"{end}_{name}" for names in SUFFIXES for end in ("min", "max") for name in names]
WORDS = ("packed_position", "packed_rotation", "packed_scale", "packed_color")


def weightiest(splats: Splats, count: int) -> Splats:
    """The `count` Gaussians that cover most: by opacity times the area of their broad side."""
    scales = splats["scales"].sort(dim=-1).values
    weights = splats["opacities"].sigmoid() * (scales[:, 1] + scales[:, 2]).exp()
    kept = weights.topk(count).indices
    return {name: values[kept] for name, values in splats.items()}


def packed_ply(splats: Splats) -> bytes:
    """The finite Gaussians as a compressed PLY, upright in viewers."""
    splats = rotate(to_cpu(splats), VIEWER)
    order = morton_order(splats["means"].numpy()) if len(splats["means"]) else slice(0)
    means, quats, scales, opacities, colors = (
        splats[name][order].double() for name in ("means", "quats", "scales", "opacities", "colors")
    )
    bounds, fractions = zip(
        *(_in_chunks(values.numpy()) for values in (means, scales, colors.sigmoid())), strict=True
    )
    place, size, rgb = fractions
    words = [
        _joined(place, (11, 10, 11)),
        _rotation(torch.nn.functional.normalize(quats, dim=-1).numpy()),
        _joined(size, (11, 10, 11)),
        _joined(np.column_stack([rgb, opacities.sigmoid().numpy()]), (8, 8, 8, 8)),
    ]
    chunks = np.concatenate(bounds, 1).astype("<f4")
    header = [
        *("ply", "format binary_little_endian 1.0", f"comment {UPRIGHT}"),
        f"element chunk {len(chunks)}",
        *(f"property float {name}" for name in BOUNDS),
        f"element vertex {len(means)}",
        *(f"property uint {name}" for name in WORDS),
        "end_header\n",
    ]
    return "\n".join(header).encode() + chunks.tobytes() + np.stack(words, 1).tobytes()


def _in_chunks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each chunk's least and largest [K, 6], and where in between the values [N, 3] lie."""
    starts = np.arange(0, len(values), CHUNK)
    if not len(starts):
        return np.zeros((0, 6)), values
    low, high = (ends.reduceat(values, starts) for ends in (np.minimum, np.maximum))
    low, high = low.astype("f4").astype(float), high.astype("f4").astype(float)
    span = np.where(high > low, high - low, 1.0)
    chunk = np.arange(len(values)) // CHUNK
    return np.concatenate([low, high], 1), (values - low[chunk]) / span[chunk]


def _joined(fractions: np.ndarray, bits: tuple[int, ...]) -> np.ndarray:
    """Fractions [N, C] in so many bits each, the first one highest, as words [N]."""
    words = np.zeros(len(fractions), np.uint64)
    for column, width in zip(fractions.T, bits, strict=True):
        steps = np.floor(column.clip(0, 1) * (2**width - 1) + 0.5).astype(np.uint64)
        words = words << np.uint64(width) | steps
    return words.astype("<u4")


def _rotation(quats: np.ndarray) -> np.ndarray:
    """Which of wxyz is largest, in two bits, and the other three in ten each, as words [N]."""
    largest = np.abs(quats).argmax(1)
    rows = np.arange(len(quats))
    quats = quats * np.where(quats[rows, largest] < 0, -1.0, 1.0)[:, None]
    others = np.ones_like(quats, bool)
    others[rows, largest] = False
    smaller = quats[others].reshape(-1, 3) / np.sqrt(2) + 0.5
    return (largest.astype(np.uint32) << 30 | _joined(smaller, (10, 10, 10))).astype("<u4")
