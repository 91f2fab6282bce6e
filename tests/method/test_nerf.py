"""The NeRF baseline: its rendering against closed forms, and a comparison that is fair."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.claims import nerf_measure
from benchmarks.claims.nerf_field import RadianceField, rays, render
from benchmarks.search.results import read_results, result_name
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.assets.splats.ply import save_ply
from stabledreamer_core.scene.cameras import Views, orbit
from stabledreamer_core.scene.gaussians import init_ball
from stabledreamer_core.scene.rendering import drawable, render_chunks
from stabledreamer_core.seeds import generator
from stabledreamer_core.tensor_files import save_tensors

VIEWS = orbit(torch.tensor([0.0, 130.0]), torch.tensor([0.0, 40.0]), 3.2, 40.0, 33)


class Ball(nn.Module):
    """A red ball of constant density about the origin."""

    def __init__(self, radius: float, density: float) -> None:
        super().__init__()
        self.radius, self.density = radius, density

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        inside = (points.norm(dim=-1) < self.radius).float()
        return self.density * inside, torch.tensor([1.0, 0.0, 0.0]).expand(len(points), 3)


def test_rays_go_through_the_pixels_that_the_cameras_project_to() -> None:
    origin, direction = rays(VIEWS)
    points = (origin + 2.5 * direction).reshape(2, -1, 3)
    seen = points @ VIEWS.viewmats[:, :3, :3].transpose(1, 2) + VIEWS.viewmats[:, None, :3, 3]
    pixels = (seen / seen[..., 2:]) @ VIEWS.Ks.transpose(1, 2)
    y, x = torch.meshgrid(torch.arange(33) + 0.5, torch.arange(33) + 0.5, indexing="ij")
    expected = torch.stack([x, y], -1).reshape(1, -1, 2).expand(2, -1, -1)
    torch.testing.assert_close(pixels[..., :2], expected, atol=1e-3, rtol=0)


def test_a_ball_of_constant_density_is_as_opaque_as_its_chords_are_long() -> None:
    colours, alphas, depth = render(Ball(0.8, 1.5), VIEWS, samples=2000)
    origin, direction = rays(VIEWS)
    miss = torch.linalg.cross(origin, direction).norm(dim=-1)
    chord = 2.0 * (0.8**2 - miss.square()).clamp(min=0.0).sqrt()
    expected = (1.0 - torch.exp(-1.5 * chord)).reshape(2, 33, 33, 1)
    torch.testing.assert_close(alphas, expected, atol=3e-3, rtol=0)
    torch.testing.assert_close(colours[..., :1], alphas)
    assert colours[..., 1:].abs().max() == 0.0
    # Through the middle: the mean depth of an exponential cut off at the chord's end.
    full = 1.5 * 1.6
    mean = (1.0 - (1.0 + full) * math.exp(-full)) / (1.5 * (1.0 - math.exp(-full)))
    assert abs(depth[0, 16, 16, 0].item() - (3.2 - 0.8 + mean)) < 5e-3


def test_the_untrained_field_is_a_blob_and_learns() -> None:
    field = RadianceField(generator("nerf"), resolutions=(8, 16, 32))
    density, colour = field(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.98]]))
    assert density[0] > 5.0 and density[1] < 0.1
    assert colour.min() >= 0.0 and colour.max() <= 1.0
    wanted, _, _ = render(Ball(0.5, 20.0), VIEWS, samples=32)
    optimiser = torch.optim.Adam(field.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        painted, _, _ = render(field, VIEWS, samples=32)
        loss = (painted - wanted).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_speed_draws_both_one_view_at_a_time(tmp_path: Path, monkeypatch) -> None:
    splats = init_ball(200, 0.5, 0.1, 0.3, generator("nerf"))
    save_ply(splats, tmp_path / "a.ply")
    asked: dict[str, list[int]] = {"gaussians": [], "nerf": []}
    drawn = nerf_measure.rasterization

    def rasterization(*args: Any, **kwargs: Any) -> Any:
        asked["gaussians"].append(len(kwargs["viewmats"]))
        return drawn(*args, **kwargs)

    def render(field: Any, views: Views, samples: int) -> Any:
        asked["nerf"].append(len(views.viewmats))
        return torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 8, 1), None

    monkeypatch.setattr(nerf_measure, "rasterization", rasterization)
    monkeypatch.setattr(nerf_measure, "render", render)
    figures = nerf_measure.speed(tmp_path / "a.ply", torch.device("cpu"), rounds=1)
    assert asked["gaussians"] == asked["nerf"] == [1] * 8
    assert figures["ratio"] == figures["gaussians"] / figures["nerf"]

    scene = drawable(splats, torch.device("cpu"))
    one = nerf_measure._draw(scene, nerf_measure._one(VIEWS, 1))
    both = torch.cat([c for c, _ in render_chunks(splats, VIEWS, (0.0,) * 3, torch.device("cpu"))])
    torch.testing.assert_close(one, both[1:2], atol=1e-6, rtol=0)


def test_the_field_that_was_kept_is_measured(tmp_path: Path, monkeypatch) -> None:
    result = {"recipe": "nerf", "prompt": "a red bear", "seed": 0, "set": []}
    field, cpu = RadianceField(generator("kept")), torch.device("cpu")
    save_tensors(tmp_path / result_name(result, "fields", ".safetensors"), field.state_dict(), {})
    (tmp_path / "results.jsonl").write_text(json.dumps(result) + "\n")

    def seen(camera: Any, *_: Any) -> dict[str, float]:
        return {"brightness": camera(torch.zeros(1), 16).colour.sum().item()}

    monkeypatch.setattr(nerf_measure, "evaluate_views", seen)
    nerf_measure.measure(tmp_path, tmp_path / "measured.jsonl")
    (measured,) = read_results(tmp_path / "measured.jsonl")
    camera = nerf_measure.nerf_camera(field, load_config().evaluate.elevation_deg, cpu)
    assert measured == {**result, "metrics": seen(camera)}
    assert measured["metrics"]["brightness"] > 0.0


@pytest.mark.gpu
def test_memory_counts_one_asset_on_both_sides() -> None:
    peaks = nerf_measure.memory(load_config(), iterations=4)
    print(peaks)
    assert all(peak > 30e6 for stages in peaks.values() for peak in stages.values())
