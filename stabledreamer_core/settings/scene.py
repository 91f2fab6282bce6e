"""The settings of a scene and its optimisation: Gaussians, cameras, rates, growth, regularisers.

The docstring under a field is its documentation, and its comment in params.yaml (params_file.py).
"""

from typing import Literal

from pydantic import Field, model_validator

from stabledreamer_core.settings.section import Pair, Section


class Gaussians(Section):
    """The scene that stage 1 starts from."""

    count: int = Field(default=4096, ge=0, le=2_000_000)
    """Number of Gaussians."""
    radius: float = Field(default=0.7, gt=0.0)
    """Radius of the ball they fill, world units."""
    scale: float = Field(default=0.06, gt=0.0)
    """Their standard deviation, world units."""
    opacity: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Their opacity."""


class Cameras(Section):
    """Random cameras on an orbit about the object."""

    elevation_deg: Pair = (-10.0, 60.0)
    """Lowest and highest elevation."""
    distance: Pair = (3.0, 3.4)
    """Nearest and farthest distance to the origin, world units."""
    fov_deg: float = Field(default=40.0, gt=1.0, lt=150.0)
    """Field of view, vertical and horizontal."""

    @model_validator(mode="after")
    def _ordered(self) -> "Cameras":
        if not -90.0 < self.elevation_deg[0] <= self.elevation_deg[1] < 90.0:
            raise ValueError("elevation_deg must be [low, high] within (-90, 90)")
        if not 0.0 < self.distance[0] <= self.distance[1]:
            raise ValueError("distance must be [near, far], both above 0")
        return self


class LearningRates(Section):
    """Adam's step size of each parameter: at the stage's start and end, log-linear between."""

    means: Pair = (0.005, 0.0005)
    """World units a step."""
    scales: Pair = (0.008, 0.008)
    """Of log scales."""
    quats: Pair = (0.003, 0.003)
    """Of quaternions."""
    opacities: Pair = (0.04, 0.04)
    """Of logits."""
    colors: Pair = (0.03, 0.03)
    """Of logits."""

    @model_validator(mode="after")
    def _positive(self) -> "LearningRates":
        if any(value <= 0.0 for pair in self.model_dump().values() for value in pair):
            raise ValueError("every learning rate must be above 0")
        return self


class Density(Section):
    """Where Gaussians are added, moved and removed."""

    strategy: Literal["none", "relocate", "default"] = "relocate"
    """none, relocate (the dead onto the living) or default (gsplat's)."""
    start_count: int = Field(default=0, ge=0, le=2_000_000)
    """Split the largest Gaussians up to this number before the first step; 0 leaves them."""
    every: int = Field(default=100, ge=1)
    """Steps between two actions."""
    start: float = Field(default=0.1, ge=0.0, le=1.0)
    """Fraction of the stage after which actions begin."""
    stop: float = Field(default=0.8, ge=0.0, le=1.0)
    """Fraction of the stage after which they end."""
    dead_opacity: float = Field(default=0.02, ge=0.0, le=1.0)
    """A Gaussian of less opacity is dead."""
    grow_grad2d: float = Field(default=0.0002, gt=0.0)
    """default strategy only: the image-plane gradient above which a Gaussian is split or cloned."""
    max_count: int = Field(default=20000, ge=1, le=5_000_000)
    """default strategy only: growth ends at this number."""


class Regularizers(Section):
    """Weights (0 is off) and limits of regularizers.py."""

    opacity: float = Field(default=0.02, ge=0.0)
    """Binary opacity: crisper outlines (docs/results.md)."""
    scale: float = Field(default=0.0, ge=0.0)
    """No blobs."""
    scale_limit: float = Field(default=0.15, gt=0.0)
    """World units: the longest axis that costs nothing."""
    anisotropy: float = Field(default=0.0, ge=0.0)
    """No needles."""
    anisotropy_limit: float = Field(default=6.0, ge=1.0)
    """The longest axis over the middle one that costs nothing."""
    position: float = Field(default=1.0, ge=0.0)
    """Compactness: a guard, which changes nothing by default (docs/claims.md)."""
    position_radius: float = Field(default=1.0, gt=0.0)
    """Of the ball in which it costs nothing."""
    depth_smoothness: float = Field(default=0.0, ge=0.0)
    """Smooth depth inside the object."""
    saturation: float = Field(default=0.0, ge=0.0)
    """No colours beyond a chroma of .9."""
    leakage: float = Field(default=0.0, ge=0.0)
    """Nothing at the edge of the picture."""
