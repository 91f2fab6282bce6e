"""What a render is pulled towards: the setting `target` of a stage, each a function of this file.

In the loss 1/2 w alpha / sigma || x - stopgrad(target) ||^2 (loss.py) a method whose gradient is
w g, with g a difference of predicted noises, has the target

    x - sigma / alpha g

so they are all one loss, and each can be looked at (debugger/). How x is noised is another
setting (noise.py).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from stabledreamer_core.distillation.annealing import anneal
from stabledreamer_core.distillation.debias import clip_score
from stabledreamer_core.distillation.denoise import multi_step
from stabledreamer_core.distillation.loss import (
    add_noise,
    guidance_scales,
    guided_eps,
    limit_x0,
    one_step_denoised,
    per_sample,
)
from stabledreamer_core.distillation.noise import noised, predict
from stabledreamer_core.distillation.perp_neg import WRONG_VIEWS, perp_neg
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.variational import own_eps
from stabledreamer_core.priors import Prior
from stabledreamer_core.settings.stage import Stage

NOISE_FREE_BELOW = 0.2  # NFSD's: below this noise level the prior's answer to "" is no noise


@torch.no_grad()
def denoise(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """Return the stage's target for the images x, in the prior's space, like x."""
    target = limit_x0(TARGETS[stage.target](stage, prior, asked), stage.x0_limit)
    clip = stage.view_bias.score_clip
    if clip is None:
        return target
    return clip_score(target, asked, prior.schedule, anneal("linear", asked.progress, *clip))


def one_step(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """The one-step denoised image, x0_hat: SDS (StableDreamer, section 4.1)."""
    x_t = noised(stage, prior, asked, asked.timesteps)
    eps_hat = _guided(stage, prior, asked, x_t)
    return one_step_denoised(x_t, eps_hat, *prior.schedule.at(asked.timesteps))


def many_steps(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """The image denoised in `target_steps` deterministic steps.

    From random noise and kept for long it is InstructNeRF2NeRF's dataset update (Haque et al.
    2023); from inverted noise it is the end of the deterministic path that begins at x itself:
    PFD (Ramanan & Rajagopalan 2026, arXiv 2605.09071), of which SDI is the path's first step.
    """
    x_t = noised(stage, prior, asked, asked.timesteps)
    return multi_step(
        *(prior, x_t, asked.timesteps, asked.cond, asked.uncond.expand_as(asked.cond)),
        *(stage.guidance_scale, stage.target_steps),
        guidance_interval=stage.guidance_interval,
        guidance_rescale=stage.guidance_rescale,
        wrong=asked.wrong,
    )


def interval(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """x - sigma_t / alpha_t (eps(x_t, y) - eps(x_s, "")): ISM, LucidDreamer (arXiv 2311.11284).

    Interval score matching. x_s is noised by the stage's noise to s = t less `interval` of the
    schedule, and x_t is one stride of the deterministic path from there. With x0_t and x0_s
    what the two denoise to, it is x + x0_t - x0_s.
    """
    back = round(stage.interval * len(prior.schedule))
    earlier = (asked.timesteps - back).clamp(min=0)
    x_s = noised(stage, prior, asked, earlier)
    eps_s = predict(prior, asked, x_s, earlier, 0.0)
    x0_s = one_step_denoised(x_s, eps_s, *prior.schedule.at(earlier))
    x_t = add_noise(x0_s, eps_s, *prior.schedule.at(asked.timesteps))
    return _target(prior, asked, _guided(stage, prior, asked, x_t) - eps_s)


def classifier(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """x - sigma / alpha s (eps(x_t, y) - eps(x_t, "")): CSD, the guidance alone (arXiv 2310.19415).

    Classifier score distillation: what is left of SDS when the guidance scale s grows without
    limit. SDS is this and the generative term, eps(x_t, "") - eps, of which `generative_share`
    stays.
    """
    x_t = noised(stage, prior, asked, asked.timesteps)
    eps_uncond, eps_cond = _both(prior, asked, x_t)
    difference = stage.guidance_scale * (eps_cond - eps_uncond)
    if stage.generative_share > 0.0:
        alpha, sigma = prior.schedule.at(asked.timesteps)
        eps = (x_t - per_sample(alpha, x_t) * asked.x) / per_sample(sigma, x_t)
        difference = difference + stage.generative_share * (eps_uncond - eps)
    return _target(prior, asked, difference)


def noise_free(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """x - sigma / alpha (delta_D + s (eps(x_t, y) - eps(x_t, ""))): NFSD (arXiv 2310.17590).

    Noise-free score distillation. eps(x_t, "") is a pull towards images and the noise itself,
    which should go: delta_D is eps(x_t, "") at low noise levels, where little noise is in it, and
    elsewhere eps(x_t, "") - eps(x_t, negative), which the noise drops out of.
    """
    assert asked.negative is not None
    x_t = noised(stage, prior, asked, asked.timesteps)
    eps_uncond, eps_cond = _both(prior, asked, x_t)
    negative = asked.negative.expand_as(asked.cond)
    eps_negative = prior.predict_eps(x_t, asked.timesteps, negative)
    low = per_sample(prior.schedule.fractions[asked.timesteps] < NOISE_FREE_BELOW, x_t)
    domain = eps_uncond - torch.where(low > 0.0, 0.0, eps_negative)
    return _target(prior, asked, domain + stage.guidance_scale * (eps_cond - eps_uncond))


def shifted(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """x - sigma / alpha (eps_hat(x_t, t) - eps(x_t, y, t + shift t)): ASD (arXiv 2407.02040).

    Asynchronous score distillation: in place of VSD's network of the renders' own noise, the prior
    itself, told a later timestep, as if the render were less of an image. The paper draws the
    shift up to `shift` t at random; here it is its largest, so that equal questions have equal
    answers.
    """
    x_t = noised(stage, prior, asked, asked.timesteps)
    later = (asked.timesteps * (1.0 + stage.shift)).round().long()
    later = later.clamp(max=len(prior.schedule) - 1)
    eps_hat = _guided(stage, prior, asked, x_t)
    return _target(prior, asked, eps_hat - prior.predict_eps(x_t, later, asked.cond))


def variational(stage: Stage, prior: Prior, asked: Question) -> Tensor:
    """x - sigma / alpha (eps_hat(x_t) - eps_lora(x_t, y)): VSD, ProlificDreamer (arXiv 2305.16213).

    Variational score distillation: in place of SDS's noise, what a network predicts that learns
    the renders' own distribution beside (variational.py).
    """
    x_t = noised(stage, prior, asked, asked.timesteps)
    return _target(
        prior, asked, _guided(stage, prior, asked, x_t) - own_eps(stage, prior, asked, x_t)
    )


Target = Callable[[Stage, Prior, Question], Tensor]
TARGETS: dict[str, Target] = {
    "one_step": one_step,
    "many_steps": many_steps,
    "interval": interval,
    "classifier": classifier,
    "noise_free": noise_free,
    "shifted": shifted,
    "variational": variational,
}


def evaluations(stage: Stage) -> int:
    """How many samples pass the prior's network for a target of one view, all in all.

    With the noise's, and with reward.py's: its candidates and what judges them.

    Exact where guidance is not confined to an interval of noise levels. A step of the LoRA of
    `variational`, a forward and a backward, counts as three.
    """
    wrong = WRONG_VIEWS if stage.view_bias.perp_neg > 0.0 else 0
    guided = 1 if stage.guidance_scale == 1.0 else 2 + wrong
    path = 0
    if stage.noise == "inverted":
        path = stage.inversion.steps * (1 if stage.inversion.guidance_scale in (0.0, 1.0) else 2)
    own = {
        "one_step": guided,
        "many_steps": guided * stage.target_steps,
        "interval": guided + 1,
        "classifier": 2 + wrong,
        "noise_free": 3 + wrong,
        "shifted": guided + 1,
        "variational": guided + 1,
    }
    candidates = stage.reward.samples
    judged = 0 if candidates == 1 else 2 * len(stage.reward.noise_levels)
    training = 3 * stage.variational.steps if stage.target == "variational" else 0
    return candidates * (path + own[stage.target] + judged) + training


def _target(prior: Prior, asked: Question, difference: Tensor) -> Tensor:
    """x - sigma / alpha times a difference of noises."""
    alpha, sigma = prior.schedule.at(asked.timesteps)
    return asked.x - per_sample(sigma / alpha, asked.x) * difference


def _guided(stage: Stage, prior: Prior, asked: Question, x_t: Tensor) -> Tensor:
    """eps_hat under the stage's guidance."""
    levels = prior.schedule.fractions[asked.timesteps]
    scales = guidance_scales(levels, stage.guidance_scale, stage.guidance_interval)
    uncond = asked.uncond.expand_as(asked.cond)
    return guided_eps(
        *(prior.predict_eps, x_t, asked.timesteps, asked.cond, uncond, scales),
        stage.guidance_rescale,
        asked.wrong,
    )


def _both(prior: Prior, asked: Question, x_t: Tensor) -> tuple[Tensor, Tensor]:
    """eps(x_t, "") and eps(x_t, y), the latter away from the words of wrong views."""
    words = torch.cat([asked.uncond.expand_as(asked.cond), asked.cond])
    both = prior.predict_eps(torch.cat([x_t, x_t]), asked.timesteps.repeat(2), words)
    eps_uncond, eps_cond = both.chunk(2)
    if asked.wrong is not None:
        now = (x_t, asked.timesteps)
        eps_cond = perp_neg(prior.predict_eps, *now, eps_uncond, eps_cond, asked.wrong)
    return eps_uncond, eps_cond
