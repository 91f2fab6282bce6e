"""Several targets a view, weighted by a reward: the section `reward` of a stage.

RewardSDS (Chachy et al. 2025, arXiv 2503.09601) draws several noises for a view and weighs their
gradients by a reward of what each denoises to. The gradient of our loss is linear in its target
(loss.py), so weighted gradients are the gradient of the weighted mean of the targets.

Where this differs from the paper's published code: there the reward is a network of its own, such
as one trained on people's preferences, of the image that x_t denoises to in many steps; here it is
of the target itself, which costs no further denoising. There the weights are softmax(reward), or,
by default, .9 for the best two noises and -.1 for the worst two; here rewards are standardised over
a view's noises first, so `sharpness` means the same for every reward. A model that measures results
(toybox's judge) is never the reward: it would no longer measure.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from stabledreamer_core.distillation.prior_error import log_error
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.target import denoise
from stabledreamer_core.priors import Prior
from stabledreamer_core.settings.stage import Stage

LEAST_SPREAD = 1e-6  # rewards that differ by less are equal but for rounding

# Which noise -> that noise, like x: 0 to samples - 1 make targets, number `samples` judges them.
Draw = Callable[[int], Tensor]
# (stage, prior, what was asked, candidates like x, noise like x) -> rewards [B], high is good
Reward = Callable[[Stage, Prior, Question, Tensor, Tensor], Tensor]


@torch.no_grad()
def rewarded(stage: Stage, prior: Prior, asked: Question, draw: Draw) -> Tensor:
    """Return the weighted mean of the targets of `reward.samples` noises, like asked.x.

    Args:
        asked: with noise number 0; its target alone, to the bit, where there is one sample.
    """
    samples = stage.reward.samples
    first = denoise(stage, prior, asked)
    if samples == 1:
        return first
    later = (replace(asked, noise=draw(number)) for number in range(1, samples))
    targets = [first, *(denoise(stage, prior, other) for other in later)]
    reward, noise = REWARDS[stage.reward.by], draw(samples)
    rewards = [reward(stage, prior, asked, target, noise) for target in targets]
    return weighted_mean(torch.stack(targets), torch.stack(rewards), stage.reward.sharpness)


def weighted_mean(targets: Tensor, rewards: Tensor, sharpness: float) -> Tensor:
    """Average targets [K, B, ...] over K by softmax(sharpness * standardised rewards [K, B]).

    Each of the B views is standardised by itself. Equal rewards, or a sharpness of 0, give the
    plain mean. How far apart rewards are has no say, but for LEAST_SPREAD: only how they lie to
    each other.
    """
    spread = rewards.std(0, correction=0).clamp(min=LEAST_SPREAD)
    weights = (sharpness * (rewards - rewards.mean(0)) / spread).softmax(0)
    return (weights.to(targets).reshape(*rewards.shape, *[1] * (targets.ndim - 2)) * targets).sum(0)


def prior_reward(
    stage: Stage, prior: Prior, asked: Question, target: Tensor, noise: Tensor
) -> Tensor:
    """Say how much better the prior finds the noise in targets with the view's prompt than without.

    log_error without less log_error with it, the mean over `reward.noise_levels`: a diffusion model
    as a classifier (Li et al. 2023, arXiv 2303.16203) of "of this prompt" against "any image".
    Candidates of a view meet the same noise, whose own part of the error so cancels.

    Args:
        target: like asked.x, in the prior's space: a latent need not be decoded to be judged.

    Returns:
        [B] float64, higher for what fits the prompt better.
    """
    gained = torch.zeros(len(target), dtype=torch.float64, device=target.device)
    for level in stage.reward.noise_levels:
        timesteps = torch.full_like(asked.timesteps, prior.schedule.index(level))
        gained += log_error(prior, target, noise, timesteps, asked.uncond.expand_as(asked.cond))
        gained -= log_error(prior, target, noise, timesteps, asked.cond)
    return gained / len(stage.reward.noise_levels)


REWARDS: dict[str, Reward] = {"prior": prior_reward}
