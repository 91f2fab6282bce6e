"""What a prior is asked: the images, their noise and noise levels, and the words."""

from dataclasses import dataclass, replace

from torch import Tensor

from stabledreamer_core.distillation.perp_neg import WrongViews


@dataclass(frozen=True)
class Question:
    """What the prior is asked about B images in its own space."""

    x: Tensor  # [B, ...] without gradient
    noise: Tensor  # like x
    timesteps: Tensor  # [B]
    cond: Tensor  # [B, L, D] the embedding of each image's prompt
    uncond: Tensor  # [1, L, D] that of the empty prompt
    negative: Tensor | None = None  # [1, L, D] that of the negative prompt, where one is asked
    wrong: WrongViews | None = None  # the words of other views, under Perp-Neg
    progress: float = 0.0  # through the stage, in [0, 1]
    loras: list[Tensor] | None = None  # [B] of [P]: the LoRA of each image's object, under VSD

    def of(self, rows: list[int]) -> "Question":
        """The same question about these of the images."""
        parts = {key: getattr(self, key)[rows] for key in ("x", "noise", "timesteps", "cond")}
        wrong = None if self.wrong is None else self.wrong.of(rows)
        loras = None if self.loras is None else [self.loras[row] for row in rows]
        return replace(self, **parts, wrong=wrong, loras=loras)
