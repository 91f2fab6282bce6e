"""Targets that are kept and come back: a set of pictures that is renewed one by one.

InstructNeRF2NeRF (Haque et al. 2023) optimises towards a set of pictures of which a few are
replaced at a time. A single target is one opinion about one view: followed for a few steps and
forgotten, it is answered by a step of Adam that the next one undoes. What many targets agree on
stays, so the result is sharper, and it asks the prior no more often.
"""

import torch

from stabledreamer_core.distillation.sample_step import Target
from stabledreamer_core.seeds import generator
from stabledreamer_core.settings.stage import Stage


def kept(targets: list[Target], stage: Stage, step: int, name: str) -> Target | None:
    """One of the targets by lot; None where the step asks the prior for a new one.

    The lot depends on the stage's name and the step alone, so all objects of a batch draw the same.
    """
    if step % stage.target_reuse == 0 or not targets:
        return None
    lot = torch.randint(len(targets), (), generator=generator(0, name, step, "kept target"))
    return targets[int(lot)]


def keep(targets: list[Target], target: Target, stage: Stage, step: int) -> list[Target]:
    """The targets after `step`, which went towards `target`: the newest, oldest first.

    At most `targets_kept`, and at most half of those made so far: the first ones, of a scene that
    had still to change, would hold it back. Those of another resolution are dropped
    (`coarse_resolution`), and all where every step asks the prior.
    """
    if stage.target_reuse == 1:
        return []
    if any(target is one for one in targets):
        return targets
    made = step // stage.target_reuse + 1
    alike = [one for one in targets if one.views.resolution == target.views.resolution]
    return [*alike, target][-min(stage.targets_kept, (made + 1) // 2) :]
