"""The report's curves as SVG with axes, drawn once, when the page is made."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from stabledreamer_core.distillation.annealing import timestep_range

WIDTH, HEIGHT = 420, 190
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 42  # room for the axes
SMOOTHED = 9  # neighbours of a point in the thick line
SAMPLES = 61  # of a noise level's curve


@dataclass(frozen=True)
class Axis:
    """From data to its place in the picture, and where marks stand."""

    low: float
    high: float
    start: float  # pixels
    end: float
    log: bool = False

    def at(self, value: Any) -> Any:
        """Pixels of a value."""
        scale: Callable[[Any], Any] = np.log10 if self.log else np.asarray
        low, high = scale(self.low), scale(self.high)
        return self.start + (self.end - self.start) * (scale(value) - low) / (high - low)

    def marks(self) -> list[float]:
        """Four or so round values within the axis."""
        if self.log:
            span = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits in ((1,), (1, 3), (1, 2, 5)):
                marks = [float(f"{digit}e{power}") for power in span for digit in digits]
                marks = [mark for mark in marks if self.low <= mark <= self.high]
                if len(marks) >= 3:
                    return marks[:: math.ceil(len(marks) / 6)]
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def loss_chart(losses: list[float], iterations: int, name: str) -> str:
    """The loss over the steps on a logarithmic scale: as it was, and smoothed.

    Args:
        losses: evenly spaced, up to the stage's end; of a resumed stage they begin where it was.
    """
    values = np.asarray(losses, float)
    steps, known = _steps(len(values), iterations)
    good = np.isfinite(values) & (values > 0)
    if good.sum() < 2:
        return ""
    values, steps = values[good], steps[good]
    low, high = float(values.min()), float(values.max())
    y = Axis(low / 1.15, high * 1.15, HEIGHT - BOTTOM, TOP, log=True)
    x = Axis(0, max(iterations, 1), LEFT, WIDTH - RIGHT)
    half = SMOOTHED // 2
    padded = np.pad(np.log10(values), half, mode="edge")
    smooth = 10 ** np.convolve(padded, np.full(SMOOTHED, 1 / SMOOTHED), "valid")
    drawn = (
        f'<polyline class="thin" points="{_points(x, y, steps, values)}"/>'
        f'<polyline class="thick" points="{_points(x, y, steps, smooth)}"/>'
    )
    from_last = "" if known else " Recorded since the stage was last resumed."
    said = f"Loss of {name}: from {values[0]:.2g} to {values[-1]:.2g}.{from_last}"
    return _chart(x, y, drawn, "Loss, logarithmic", said)


def noise_chart(annealing: dict[str, Any], iterations: int, name: str) -> str:
    """The range of noise levels that a stage draws from, over its steps."""
    progress = np.linspace(0, 1, SAMPLES)
    ranges = [
        timestep_range(
            annealing["schedule"], p, tuple(annealing["t_min"]), tuple(annealing["t_max"])
        )
        for p in progress
    ]
    lows, highs = np.array(ranges).T
    x = Axis(0, max(iterations, 1), LEFT, WIDTH - RIGHT)
    y = Axis(0, 1, HEIGHT - BOTTOM, TOP)
    steps = progress * iterations
    around = f"{_points(x, y, steps, highs)} {_points(x, y, steps[::-1], lows[::-1])}"
    drawn = f'<polygon class="band" points="{around}"/>' + "".join(
        f'<polyline class="thick" points="{_points(x, y, steps, ends)}"/>' for ends in (highs, lows)
    )
    said = (
        f"Noise level of {name}: drawn between {lows[0]:.2g} and {highs[0]:.2g} at the start, "
        f"between {lows[-1]:.2g} and {highs[-1]:.2g} at the end."
    )
    return _chart(x, y, drawn, "Noise level, 0 none to 1 pure", said)


def _steps(count: int, iterations: int) -> tuple[np.ndarray, bool]:
    """The steps of `count` losses, and whether they are the whole stage's."""
    stride = max(1, iterations // 100)
    if count == len(range(0, iterations, stride)):
        return np.arange(count) * stride, True
    stride = min(stride, max(1, iterations // max(count, 1)))
    return iterations - stride * np.arange(count, 0, -1), False


def _points(x: Axis, y: Axis, xs: np.ndarray, ys: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.at(xs), y.at(ys), strict=True))


def _chart(x: Axis, y: Axis, drawn: str, title: str, said: str) -> str:
    """A picture with axes whose marks have numbers, and what it shows in words."""
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for mark in y.marks():
        at = f"{float(y.at(mark)):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at}" dy=".35em" text-anchor="end">{mark:g}</text>')
    for mark in x.marks():
        at = f"{float(x.at(mark)):.1f}"
        parts.append(f'<line class="axis" x1="{at}" x2="{at}" y1="{floor}" y2="{floor + 4}"/>')
        anchor = "end" if mark >= x.high else "middle"
        parts.append(f'<text x="{at}" y="{floor + 17}" text-anchor="{anchor}">{mark:g}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>')
    step = f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 4}" text-anchor="middle">step</text>'
    return (
        f'<figure><figcaption class="quiet">{title}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">'
        f"{''.join(parts)}{drawn}{step}</svg></figure>"
    )
