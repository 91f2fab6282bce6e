"""Light that is known can be divided out of colours, and what is left is the paint.

Priors are trained on pictures with their own light, and it ends up in the Gaussians' colours. A
file beside a prior's folder, `toybox-sd.light.json` beside `toybox-sd/`, says which; then the mesh
is lit by the viewer's light alone. Without one nothing can tell a dark paint from a shade. The
file is not in the folder, because no stage depends on it: the mesh alone does.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole

MAX_BYTES = 4096


@dataclass(frozen=True)
class Light:
    """One light that wraps around the object: brightness low + (high - low) (1 + n . l) / 2.

    It multiplies display values. Computer graphics knows it as a hemisphere light.
    """

    direction: tuple[float, float, float]  # l, towards the light, world frame, of any length
    low: float  # brightness of a surface that looks away
    high: float  # of one that faces the light

    def shade(self, normals: np.ndarray) -> np.ndarray:
        """Compute the brightness [N, 1] of surfaces with unit normals [N, 3]."""
        towards = np.asarray(self.direction) / np.linalg.norm(self.direction)
        share = 0.5 * (1.0 + np.asarray(normals) @ towards)
        return np.asarray(self.low + (self.high - self.low) * share)[:, None]


def write_light(folder: Path, light: Light) -> None:
    """Write the light of a prior's pictures beside its folder."""
    light_file(folder).write_text(json.dumps(asdict(light), indent=2) + "\n", encoding="utf-8")


def light_file(folder: Path) -> Path:
    """Return where the light of a prior's pictures is described."""
    return folder.with_name(f"{folder.name}.light.json")


def read_light(folder: Path) -> Light | None:
    """Read which light a prior's pictures have; None if there is no file that says so.

    Raises:
        UserError: the file cannot be read or describes no light.
    """
    path = light_file(folder)
    if not path.is_file():
        return None
    try:
        told = json.loads(read_whole(path, MAX_BYTES))
        x, y, z = (float(value) for value in told["direction"])
        light = Light((x, y, z), float(told["low"]), float(told["high"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} describes no light: it needs direction (3 numbers), low and high"
        ) from error
    numbers = np.array([*light.direction, light.low, light.high])
    if not (np.isfinite(numbers).all() and 0.05 <= light.low <= light.high <= 1.0):
        raise UserError(f"{path}: low and high must be numbers with 0.05 <= low <= high <= 1")
    if not np.linalg.norm(light.direction) > 0.0:
        raise UserError(f"{path}: direction must not be 0")
    return light


def without_light(colors: np.ndarray, normals: np.ndarray, light: Light) -> np.ndarray:
    """Divide the light out of display values [N, 3] of surfaces with unit normals [N, 3].

    What would be brighter than white (noise, a normal that is off) is scaled to keep its hue.
    """
    paint = np.asarray(colors) / light.shade(normals)
    return np.asarray(paint / np.maximum(paint.max(1, keepdims=True), 1.0))
