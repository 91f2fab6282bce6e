"""The settings of what comes out of a run: turntable, mesh and evaluation.

The docstring under a field is its documentation, and its comment in params.yaml (params_file.py).
"""

from typing import Annotated, Literal, Self

from pydantic import Field

from stabledreamer_core.settings.section import Section

Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Color = tuple[Unit, Unit, Unit]
FormatName = Literal["ply", "compressed-ply", "spz", "spz-v4", "sog", "gltf", "usdz", "obj", "stl"]


class Turntable(Section):
    """turntable.mp4 and preview.png."""

    frames: int = Field(default=120, ge=1, le=3600)
    """Frames of one full turn."""

    fps: int = Field(default=30, ge=1, le=120)
    """Frames a second; a turn takes frames / fps seconds."""

    resolution: int = Field(default=512, ge=32, le=2048, multiple_of=2)
    """Side of the square video in pixels; even, because H.264 stores colour at half resolution."""

    elevation_deg: float = Field(default=15.0, gt=-90.0, lt=90.0)
    """How far above the horizon the camera circles."""

    distance: float = Field(default=3.2, gt=1.0, le=100.0)
    """From the camera to the origin in world units; the toy fills the ball of radius 1."""

    fov_deg: float = Field(default=40.0, gt=1.0, lt=120.0)
    """Field of view, the same across and up."""

    background: Color = (0.93, 0.93, 0.92)
    """Solid background, red, green and blue in [0, 1]."""

    checkers: bool = False
    """Squares of `background` and a darker tone, before which one sees what is see-through."""

    preview_resolution: int = Field(default=256, ge=32, le=1024)
    """Side in pixels of each of the eight views in preview.png (four across, two down)."""


class Mesh(Section):
    """mesh.glb: a closed coloured surface around the Gaussians."""

    height: float = Field(default=1.0, gt=0.0, le=1000.0)
    """How tall the object is in the mesh's files, in metres; it stands on the origin."""

    material: Literal["auto", "lit", "unlit"] = "auto"
    """lit is shaded by the viewer's light; auto: lit if the light in the colours is known."""

    texture: bool = True
    """Colours in an image with UV coordinates; otherwise each vertex has a colour."""

    texture_resolution: int = Field(default=1024, ge=64, le=4096)
    """Side of that image in pixels."""

    faces: int = Field(default=40000, ge=0)
    """Simplify to about this many triangles; 0 keeps all of them."""

    lite_faces: int = Field(default=10000, ge=0)
    """Triangles at most in asset-light.glb, the smaller file for the web; 0 writes none."""

    views: int = Field(default=64, ge=8, le=512)
    """Cameras, spread evenly over the sphere, whose depth maps are fused."""

    view_resolution: int = Field(default=384, ge=32, le=1024)
    """Side of each depth map in pixels."""

    resolution: int = Field(default=192, ge=16, le=512)
    """Cells along each edge of the grid that holds the signed distance."""

    min_alpha: float = Field(default=0.5, gt=0.0, lt=1.0)
    """A pixel at least this opaque sees the surface; a fainter one sees through."""

    see_through: bool = False
    """Give the surface the opacity of semi-transparent Gaussians; otherwise it is opaque."""

    truncation: float = Field(default=3.0, ge=1.0, le=16.0)
    """How far about a seen surface its depth map is believed, in grid cells."""

    smoothing: int = Field(default=8, ge=0, le=200)
    """Taubin smoothing steps: takes off the grid's ripple without shrinking."""

    min_component: Unit = 0.02
    """Pieces with a smaller share of the largest piece's volume are floaters and dropped."""

    def shape(self) -> Self:
        """The same mesh without a texture: quicker, where its shape alone is measured."""
        return self.model_copy(update={"texture": False})


class Export(Section):
    """Further files of the Gaussians and the mesh (docs/outputs.md), made by every run."""

    formats: tuple[FormatName, ...] = ()
    """Of compressed-ply, spz, spz-v4, sog, gltf, usdz, obj, stl; gaussians.ply is always there."""


class ViewPrior(Section):
    """How a prior is asked which side a render shows (metrics/view_classifier.py)."""

    prior: str = Field(default="priors/toybox-if", min_length=1)
    """A diffusers pipeline, pixel or latent: a local folder or a hub id."""

    revision: str | None = None
    """A hub id's pinned commit."""

    variant: str | None = None
    """The weights' variant, such as fp16."""

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Arithmetic of the prior; auto is float32 on a CPU, else what the prior suggests."""

    view_words: Literal["four", "eight"] = "eight"
    """Vocabulary to choose from: what the prior knows. Overhead is left out."""

    noise_levels: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        default=(0.8, 0.9, 0.95), min_length=1
    )
    """Timesteps at which the prior denoises, as fractions of its schedule."""

    noises: int = Field(default=1, ge=1, le=100)
    """Noises for each view and noise level. Prior calls: 8 views x words x levels x noises."""


class Evaluate(Section):
    """The figures under `metrics` in run.json: most of them for Toybox prompts only."""

    judge: str = Field(default="priors/toybox-judge", min_length=1)
    """Folder of the judge network, from the current folder or the repository's root."""

    resolution: int = Field(default=128, ge=32, le=512)
    """Side in pixels of the images the judge sees."""

    elevation_deg: float = Field(default=15.0, gt=-90.0, lt=90.0)
    """Elevation of all the judged views."""

    backgrounds: tuple[Color, ...] = Field(
        default=((0.5, 0.5, 0.5), (0.93, 0.93, 0.92), (0.25, 0.3, 0.35)), min_length=1
    )
    """Solid backgrounds; each view is judged on every one and the probabilities are averaged."""

    front_views: int = Field(default=24, ge=8, le=360)
    """Azimuths around the toy at which a second front (the multi-face problem) is looked for."""

    surface_samples: int = Field(default=20000, ge=100, le=1_000_000)
    """Points on each surface for the distances between them."""

    f_score_threshold: float = Field(default=0.02, gt=0.0, le=1.0)
    """What counts as near in the F-score, as a share of the true toy's longest side."""

    retrieval_prompts: tuple[str, ...] = ()
    """The prompts among which R-Precision looks for the asset's own; none: all of Toybox's."""

    view_classifier: bool = False
    """Ask a prior which side each view shows: a multi-face measure that needs no judge."""

    view_prior: ViewPrior = ViewPrior()
    """Which prior that is, and how it is asked."""

    clip: str | None = None
    """CLIP weights for CLIP score and R-Precision: a folder, or a hub id in the local cache."""
