"""The settings of distillation: noise levels, noise, targets, their weights and cures.

The docstring under a field is its documentation, and its comment in params.yaml (params_file.py).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stabledreamer_core.settings.section import Pair, Section

# The first of NFSD's words (arXiv 2310.17590)
NEGATIVE_PROMPT = "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull"


class Annealing(Section):
    """The noise level over the stage, as fractions of the prior's schedule."""

    schedule: Literal["none", "linear", "sqrt", "cosine", "step"] = "linear"
    """none, linear, sqrt, cosine or step: how the range falls from start to end."""
    t_max: Pair = (0.98, 0.25)
    """Upper end of the noise level at the stage's start and end."""
    t_min: Pair = (0.7, 0.02)
    """Lower end at the stage's start and end."""

    @model_validator(mode="after")
    def _within(self) -> "Annealing":
        if not all(0.0 <= value <= 1.0 for value in (*self.t_max, *self.t_min)):
            raise ValueError("t_max and t_min are fractions between 0 and 1")
        return self


class Inversion(Section):
    """How inverted noise is found (distillation/noise.py)."""

    steps: int = Field(default=5, ge=1, le=1000)
    """Strides from the image to its noise, each a call of the prior."""
    guidance_scale: float = Field(default=-7.5, ge=-1000.0, le=1000.0)
    """Its own s; SDI's is the negative of the target's, 0 is the empty prompt alone."""


class Variational(Section):
    """VSD's LoRA, which learns what the renders look like (distillation/variational.py)."""

    rank: int = Field(default=4, ge=1, le=256)
    """Of what it adds to each linear map of the prior's attention."""
    learning_rate: float = Field(default=1e-4, gt=0.0, le=1.0)
    """AdamW's step size."""
    steps: int = Field(default=1, ge=1, le=100)
    """AdamW's steps for each new target, each as dear as three calls of the prior."""


class ViewBias(Section):
    """Cures for the second face, of priors that know things from the front (docs/faces.md)."""

    interpolate: bool = False
    """Mix the embeddings of the two nearest view words by azimuth; false: the nearest alone."""
    perp_neg: float = Field(default=0.0, ge=0.0, le=10.0)
    """Perp-Neg's strength, away from the wrong views' words; 0 is off, 1 its published weights."""
    score_clip: Pair | None = None
    """Bound of each number of eps_hat - eps (Debiased-SDS), such as [0.5, 2.0]; null is off."""
    debias_words: tuple[str, ...] = ()
    """Words, such as face, that prompts lose in all views but the front ones, or as the language
    model says."""
    language_model: str | None = None
    """A local folder with a masked language model, which chooses the words that a view's prompt
    loses: of debias_words, or of all if there are none."""
    reweight: Literal["none", "uniform", "camera"] = "none"
    """Weigh views so that what the targets show is uniform over directions, or as the cameras'."""

    @model_validator(mode="after")
    def _sensible(self) -> "ViewBias":
        if self.score_clip is not None and min(self.score_clip) <= 0.0:
            raise ValueError("score_clip must be null, or [start, end], both above 0")
        if any(word != word.strip() or len(word.split()) != 1 for word in self.debias_words):
            raise ValueError("debias_words must be single words, such as [face, eyes]")
        return self

    @property
    def words(self) -> list[str]:
        """Return the names of the cures that are on and need view words."""
        names = ("interpolate", "perp_neg", "debias_words", "language_model")
        return [name for name in names if getattr(self, name)]


class Reward(Section):
    """Several targets a view, weighted by a reward (RewardSDS, docs/targets.md)."""

    samples: int = Field(default=1, ge=1, le=64)
    """Noises for each view, each with a target of its own; 1 is off."""
    sharpness: float = Field(default=1.0, ge=0.0, le=1000.0)
    """Weights are softmax(sharpness * reward, standardised); 0 is the plain mean."""
    by: Literal["prior"] = "prior"
    """prior: how much better it knows the target with the prompt than without."""
    noise_levels: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        default=(0.3,), min_length=1
    )
    """Where the prior is asked, as fractions of its schedule; each costs two samples a target."""
