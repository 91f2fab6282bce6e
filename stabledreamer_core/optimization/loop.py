"""The stage loop: the same for both stages, whatever the prior, for one object or a batch of them.

render -> x -> x_t -> x0_hat -> 1/2 w || x - x0_hat ||^2 -> Adam on the Gaussians

B objects of N Gaussians each lie one after another in tensors of B N rows; C views of each give
batches of B C images. On a laptop B is 1.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stabledreamer_core.distillation.kept_targets import keep, kept
from stabledreamer_core.distillation.loss_space import (
    target_in_loss_space,
    to_loss_space,
    to_prior_space,
)
from stabledreamer_core.distillation.noise import mixed
from stabledreamer_core.distillation.object_noise import object_noise
from stabledreamer_core.distillation.question import Question
from stabledreamer_core.distillation.reward import rewarded
from stabledreamer_core.distillation.sample_step import Target, draw_noise, draw_target
from stabledreamer_core.distillation.variational import begin_loras, train
from stabledreamer_core.distillation.view_conditions import view_conditions
from stabledreamer_core.distillation.view_weights import Classify, reweighted
from stabledreamer_core.optimization.guard import (
    KEEP_EVERY,
    Guard,
    all_finite,
    diagnose,
    is_checked,
)
from stabledreamer_core.optimization.observe import Observation, Observe, Progress
from stabledreamer_core.optimization.state import TrainState
from stabledreamer_core.optimization.step_parts import step_parts
from stabledreamer_core.priors import Prior
from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene.cameras import Views
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.seeds import derive_seed
from stabledreamer_core.settings.stage import Stage


def optimize(
    stage: Stage,
    state: TrainState,
    prior: Prior,
    embeddings: Tensor,
    uncond: Tensor,
    *,
    seeds: list[int],
    name: str,
    negative: Tensor | None = None,
    save: Callable[[TrainState], None] | None = None,
    save_every_seconds: float = 30.0,
    graphs: bool = False,
    progress: Callable[[Progress], None] | None = None,
    observe: Observe | None = None,
    classify: Classify | None = None,
) -> tuple[list[Splats], Tensor]:
    """Optimise the Gaussians of B objects against a prior, up to step `stage.iterations`.

    Args:
        state: where to begin (`TrainState.begin`) or to go on (`TrainState.load`); it is changed.
        embeddings: [B, V, L, D], one for each of the stage's view words.
        uncond, negative: [1, L, D] of the empty prompt, and of the negative one where one is asked.
        seeds, name: every random number of an object derives from its seed, the name and the step.
        graphs: run the step's arithmetic as CUDA graphs; scenes on a GPU alone.
        save: called about every `save_every_seconds`.
        observe: called after every step.
        classify: says what views show, for a stage that weighs them (view_weights.py).

    Returns:
        The scenes, and the losses [steps run here, B]: each object's L2 loss, and the
        regularisers' mean over the objects.

    Raises:
        UserError: numbers went wrong again and again (guard.py).
    """
    count, device, first = len(seeds), state.device, state.step
    if stage.target == "variational" and state.loras is None:
        state.loras = begin_loras(stage, prior, seeds, name)
    guard = Guard(name, state)
    activate, losses_of = step_parts(stage, count, graphs)
    losses: list[Tensor] = []
    began = saved = time.monotonic()
    while state.step < stage.iterations:
        step, params = state.step, state.params
        state.set_learning_rates(stage)

        # 1. Views: new ones, or those of a target that is kept.
        target = kept(state.targets, stage, step, name)
        target = target or draw_target(stage, prior.schedule, step, seeds, name)

        # 2. Render.
        gaussians = activate(params)
        seen = stage.regularizers.depth_smoothness > 0.0 or stage.noise == "object"
        colors, alphas, depth, info = render(gaussians, target, count, depth=seen)
        images = F.avg_pool2d(colors.permute(0, 3, 1, 2), stage.supersampling)
        x = to_loss_space(stage, prior, images)

        # 3. The target: noise the render and denoise it.
        asked = x0_hat = None
        if target.x0_hat is None:
            z, pull = to_prior_space(stage, prior, images, x)
            surface = (gaussians["means"].detach(), target.views, depth, alphas)
            draw = partial(_noise, stage, z, surface, step, seeds, name)
            cond, wrong = view_conditions(stage, embeddings, target.views)
            progressed = step / stage.iterations
            loras = None if state.loras is None else state.loras.each(stage.views)
            asked = Question(
                *(z, draw(0), target.timesteps, cond, uncond, negative, wrong, progressed, loras)
            )
            x0_hat = rewarded(stage, prior, asked, draw)
            if state.loras is not None:
                train(stage, prior, asked, state.loras, step, seeds, name)
            if stage.view_bias.reweight != "none" and classify is not None:
                state.looks, weights = reweighted(
                    stage, prior, classify, x0_hat, target.views, state.looks, count
                )
                target.weight = target.weight * weights
            target.x0_hat = target_in_loss_space(stage, prior, images, z, x0_hat, pull)

        # 4. Loss of each object: supervised L2 and the regularisers (their mean).
        loss, per_view = losses_of(
            x, target.x0_hat, target.weight, gaussians, colors, alphas, depth
        )

        # 5. Step.
        state.before_backward(info)
        loss.sum().backward()
        if not stage.anisotropic:
            gradient = params["scales"].grad
            gradient.copy_(gradient.mean(-1, keepdim=True).expand_as(gradient))
        for optimizer in state.optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        # 6. If numbers went wrong: back, and on with smaller steps.
        checked = is_checked(step, stage.iterations, device)
        if checked and not all_finite(loss, state.learned()):
            state = guard.roll_back(state, diagnose(loss, x, target.x0_hat, state.learned()))
            del losses[state.step - first :]
            continue
        losses.append(loss.detach().clone())  # a graph's result is overwritten

        # 7. Density control.
        state.after_step(info, derive_seed(seeds[0], name, step))

        # 8. Tell, and keep what is needed to go on.
        state.step += 1
        state.targets = keep(state.targets, target, stage, step)
        if observe:
            pictures, each = images.detach().permute(0, 2, 3, 1), per_view / x[0].numel()
            scene = partial(_first_scene, state, count)
            observe(Observation(step, prior, target, pictures, each, asked, x0_hat, scene))
        now = time.monotonic()
        if checked and progress:
            loss_now = float(losses[-1].mean())
            progress(Progress(state.step, stage.iterations, loss_now, now - began, first))
        due = save is not None and now - saved > save_every_seconds
        if checked and state.step < stage.iterations and (due or state.step % KEEP_EVERY == 0):
            guard.keep(state)
            if save and due:
                save(state)
                saved = now
    return state.scenes(count), torch.stack(losses) if losses else torch.zeros(0, count)


def render(
    gaussians: Splats, target: Target, count: int, depth: bool = True
) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
    """RGB [B C, H, W, 3], alpha and expected depth [B C, H, W, 1], and the rasteriser's meta.

    Args:
        gaussians: activated, of `count` objects one after another.
        depth: whether it is wanted; else it has no channel.
    """
    views = target.views

    def apart(tensor: Tensor) -> Tensor:
        return tensor if count == 1 else tensor.unflatten(0, (count, -1))

    renders, alphas, info = rasterization(
        apart(gaussians["means"]),
        apart(gaussians["quats"]),
        apart(gaussians["scales"]),
        apart(gaussians["opacities"]),
        apart(gaussians["colors"]),
        apart(views.viewmats),
        apart(views.Ks),
        width=views.resolution,
        height=views.resolution,
        backgrounds=apart(target.backgrounds),
        render_mode="RGB+ED" if depth else "RGB",
    )
    if count > 1:
        renders, alphas = renders.flatten(0, 1), alphas.flatten(0, 1)
    return renders[..., :3], alphas, renders[..., 3:], info


def _noise(
    stage: Stage,
    like: Tensor,
    surface: tuple[Tensor, Views, Tensor, Tensor],
    step: int,
    seeds: list[int],
    name: str,
    number: int,
) -> Tensor:
    """Draw a step's first noise (0), or a later one, like `like` [B C, ...].

    Args:
        surface: the means [B N, 3], and views, depth and alphas of object_noise.py.
    """
    fresh = draw_noise(like, step, seeds, name, f"noise {number}" if number else "noise")
    judging = number == stage.reward.samples  # at every step anew, never the scene's
    if stage.noise != "object" or judging:
        return fresh
    means, views, depth, alphas = surface
    each = means.reshape(len(seeds), -1, 3)
    on_it = object_noise(each, views, depth, alphas, fresh, seeds, name, number)
    return mixed(on_it, fresh, stage.noise_fresh)


def _first_scene(state: TrainState, count: int) -> Splats:
    return state.scenes(count)[0]
