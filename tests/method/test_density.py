"""Density control: what it must keep (the picture, the count) and what it must change."""

import pytest
import torch

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.rasterize import rasterization
from stabledreamer_core.scene.cameras import orbit
from stabledreamer_core.scene.density import density_strategy, relocate_dead, split_largest
from stabledreamer_core.scene.gaussians import KEYS, activate, init_ball
from stabledreamer_core.seeds import generator


def trained_ball(count: int) -> tuple[torch.nn.ParameterDict, dict[str, torch.optim.Adam]]:
    """A ball whose optimisers have taken a step, so that their moments are not zero."""
    splats = init_ball(count, 0.7, 0.05, 0.5, generator("density"))
    params = torch.nn.ParameterDict({key: torch.nn.Parameter(splats[key]) for key in KEYS})
    optimizers = {key: torch.optim.Adam([params[key]], lr=1e-5) for key in KEYS}
    sum(value.sum() for value in params.values()).backward()
    for optimizer in optimizers.values():
        optimizer.step()
    return params, optimizers


def test_dead_gaussians_land_within_living_ones() -> None:
    params, optimizers = trained_ball(200)
    with torch.no_grad():
        params["opacities"][:40] = -9.0
    living = params["means"][40:].detach().clone()
    assert relocate_dead(params, optimizers, 0.02, [generator("x")]) == 40
    distance = torch.cdist(params["means"][:40].detach(), living).amin(1)
    assert distance.max() < 0.5 * 0.05 * 5
    assert activate(params)["opacities"].min() > 0.02
    for key in KEYS:
        moments = optimizers[key].state[params[key]]
        assert moments["exp_avg"][:40].abs().max() == 0.0
        assert moments["exp_avg"].shape == params[key].shape


def test_sharing_keeps_the_opacity_through_the_centre() -> None:
    params, optimizers = trained_ball(3)
    with torch.no_grad():
        params["opacities"][0] = -9.0
        params["opacities"][1] = -9.0
    before = params["opacities"][2].sigmoid().item()
    relocate_dead(params, optimizers, 0.02, [generator("x")])
    through = 1 - (1 - activate(params)["opacities"]).prod().item()
    assert abs(through - before) < 1e-5


def test_nothing_dead_or_nothing_alive_changes_nothing() -> None:
    params, optimizers = trained_ball(20)
    before = {key: params[key].detach().clone() for key in KEYS}
    assert relocate_dead(params, optimizers, 0.02, [generator("x")]) == 0
    assert relocate_dead(params, optimizers, 0.99, [generator("x")]) == 0
    assert all(torch.equal(params[key], before[key]) for key in KEYS)


def test_splitting_reaches_the_count_and_takes_the_largest() -> None:
    splats = init_ball(100, 0.7, 0.05, 0.5, generator("density"))
    splats["scales"][:10] += 1.0
    after = split_largest(splats, 110)
    assert len(after["means"]) == 110
    assert torch.equal(after["means"][10:100], splats["means"][10:])
    assert not torch.equal(after["means"][:10], splats["means"][:10])
    assert len(split_largest(splats, 450)["means"]) == 450
    assert len(split_largest(splats, 50)["means"]) == 100


def test_halves_lie_along_the_longest_axis_and_keep_the_middle() -> None:
    # A quarter turn about z takes the long x axis to y.
    turn = torch.tensor([[0.5**0.5, 0.0, 0.0, 0.5**0.5]])
    splats = {
        "means": torch.tensor([[0.1, 0.2, 0.3]]),
        "quats": turn,
        "scales": torch.tensor([[0.4, 0.1, 0.1]]).log(),
        "opacities": torch.zeros(1),
        "colors": torch.zeros(1, 3),
    }
    halves = split_largest(splats, 2)
    torch.testing.assert_close(halves["means"].mean(0, keepdim=True), splats["means"])
    apart = (halves["means"][0] - halves["means"][1]).abs()
    torch.testing.assert_close(apart, torch.tensor([0.0, 2 * 0.55 * 0.4, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        halves["scales"].exp(), torch.tensor([[0.24, 0.1, 0.1]]).repeat(2, 1)
    )


@pytest.mark.parametrize("name", ["none", "relocate"])
def test_the_dead_move_at_their_steps_alone(name: str) -> None:
    changes = {"strategy": name, "every": 3, "start": 0.2, "stop": 0.75, "dead_opacity": 0.02}
    density = load_config().stage1.density.model_copy(update=changes)
    strategy = density_strategy(density, 20, [0], "stage1")
    params, optimizers = trained_ball(50)
    state, moved = strategy.initialize_state(), []
    for step in range(20):
        with torch.no_grad():
            params["opacities"][:5] = -9.0
        strategy.step_pre_backward(params, optimizers, state, step, {})
        strategy.step_post_backward(params, optimizers, state, step, {})
        if bool((params["opacities"][:5] > -5.0).all()):
            moved.append(step + 1)
    assert moved == ([6, 9, 12, 15] if name == "relocate" else [])  # of steps 4 to 14, from 0
    assert len(params["means"]) == 50


def grow(max_count: int, steps: int = 40) -> list[int]:
    """How many Gaussians there are after each step of growing wherever there is a gradient."""
    params, optimizers = trained_ball(100)
    density = load_config().stage1.density.model_copy(
        update={"strategy": "default", "grow_grad2d": 1e-9, "max_count": max_count, "every": 5}
        | {"start": 0.0, "stop": 1.0, "dead_opacity": 0.05}
    )
    strategy = density_strategy(density, steps, [0], "stage1")
    strategy.check_sanity(params, optimizers)
    state = strategy.initialize_state()
    counts = []
    for step in range(steps):
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        views = orbit(torch.tensor([0.0]), torch.tensor([10.0]), 3.2, 40.0, 32)
        scene = activate(params)
        renders, _, info = rasterization(
            *(scene[key] for key in ("means", "quats", "scales", "opacities", "colors")),
            viewmats=views.viewmats,
            Ks=views.Ks,
            width=32,
            height=32,
        )
        strategy.step_pre_backward(params, optimizers, state, step, info)
        renders.square().sum().backward()
        if step == 30:
            with torch.no_grad():
                params["opacities"][:20] = -9.0
        strategy.step_post_backward(params, optimizers, state, step, info)
        counts.append(len(params["means"]))
    return counts


def test_growth_stops_at_the_most_and_goes_on_pruning() -> None:
    free = grow(1_000_000)
    assert max(free) > 150  # would overshoot
    counts = grow(130)
    assert max(counts) == 130 and counts[29] == 130
    assert counts[30] == 110  # twenty were dead, and room is left
    assert counts[-1] == 130
