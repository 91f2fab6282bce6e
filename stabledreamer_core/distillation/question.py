"""What a prior is asked: the images, their noise and noise levels, and the words."""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Question:
    """What the prior is asked about B images in its own space."""

    x: Tensor  # [B, ...] without gradient
    noise: Tensor  # like x
    timesteps: Tensor  # [B]
    cond: Tensor  # [B, L, D] the embedding of each image's prompt
    uncond: Tensor  # [1, L, D] that of the empty prompt
    negative: Tensor | None = None  # [1, L, D] that of the negative prompt, where one is asked

    def of(self, rows: list[int]) -> "Question":
        """The same question about these of the images."""
        parts = {key: getattr(self, key)[rows] for key in ("x", "noise", "timesteps", "cond")}
        return replace(self, **parts)
