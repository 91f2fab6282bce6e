"""The peers' loops run, do what their sources do, and are compared with ours."""

import csv
import sys

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.speed import peers, rehearsal
from benchmarks.speed.peer_loops import PEERS
from benchmarks.speed.peer_scene import (
    GUIDANCE,
    Guide,
    directions,
    pixel_directions,
    sds_gradient,
    total_variation,
)
from stabledreamer_core.scene.gaussians import init_ball
from tests.conftest import build_sd


class Counted(nn.Module):
    """A network that counts its calls."""

    def __init__(self, network):
        super().__init__()
        self.network, self.config, self.calls = network, network.config, []

    @property
    def dtype(self):
        return self.network.dtype

    def forward(self, *values, **named):
        self.calls.append(("forward", len(values[0])))
        return self.network(*values, **named)

    def encode(self, pixels):
        self.calls.append(("encode", len(pixels)))
        return self.network.encode(pixels)

    def decode(self, latents):
        self.calls.append(("decode", len(latents)))
        return self.network.decode(latents)


@pytest.fixture
def guide():
    from diffusers import DDIMScheduler

    torch.manual_seed(0)
    pipeline = build_sd()
    pipeline.unet.requires_grad_(False)
    pipeline.vae.requires_grad_(False)
    width = pipeline.unet.config.cross_attention_dim
    size = 4 * pipeline.unet.config.sample_size  # its VAE has three levels
    return Guide(
        Counted(pipeline.unet), Counted(pipeline.vae),
        DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        torch.randn(4, 7, width), torch.randn(1, 7, width), size,
    )  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
def test_a_step_calls_the_networks_as_its_source_does(name, guide):
    torch.manual_seed(1)
    np.random.seed(1)
    splats = init_ball(40, 0.8, 0.2, 0.5, torch.Generator().manual_seed(0))
    before = {key: value.clone() for key, value in splats.items()}
    step = PEERS[name](guide, splats, 3, torch.device("cpu"))
    step(0)
    decoded = [("decode", 3)] if name == "threestudio-3dgs" else []
    assert guide.unet.calls == [("forward", 6)]
    assert guide.vae.calls == [("encode", 3), *decoded]
    step(1)
    assert len(guide.unet.calls) == 2
    assert all(torch.equal(splats[key], before[key]) for key in before)  # theirs are copies


@pytest.mark.parametrize("name", PEERS)
def test_a_step_moves_every_kind_of_number(name, guide, monkeypatch):
    from benchmarks.speed import peer_loops

    made = []

    class Kept(peer_loops.Scene):
        def __init__(self, *values):
            super().__init__(*values)
            made.append(self)

    monkeypatch.setattr(peer_loops, "Scene", Kept)
    splats = init_ball(40, 0.8, 0.2, 0.5, torch.Generator().manual_seed(0))
    step = PEERS[name](guide, splats, 2, torch.device("cpu"))
    for number in range(3):
        step(number)
    (scene,) = made
    for key, value in scene.params.items():
        assert value.isfinite().all() and not torch.equal(value, splats[key]), key
    assert scene.seen.max() >= 3.0 and scene.max_radii.max() > 0.0


def test_gradient_of_guidance_is_the_closed_form(guide):
    t, latents = torch.tensor([100, 700]), torch.randn(2, 4, guide.size // 4, guide.size // 4)
    prompts = torch.cat([guide.prompts[:2], guide.empty.expand(2, -1, -1)])
    torch.manual_seed(5)
    gradient, predicted, noisy = sds_gradient(guide, latents, t, prompts)
    torch.manual_seed(5)
    noise = torch.randn_like(latents)
    abar = guide.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    torch.testing.assert_close(noisy, abar.sqrt() * latents + (1 - abar).sqrt() * noise)
    ask = guide.unet.network
    text, none = (ask(noisy, t, encoder_hidden_states=one).sample for one in prompts.chunk(2))
    torch.testing.assert_close(predicted, text + GUIDANCE * (text - none), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(gradient, (1 - abar) * (predicted - noise))


def test_directions_choose_by_place():
    azimuth = torch.tensor([0.0, 90.0, 180.0, -170.0, 10.0])
    elevation = torch.tensor([0.0, 0.0, 0.0, 10.0, 80.0])
    assert directions(elevation, azimuth).tolist() == [1, 0, 2, 2, 3]


def test_helpers_have_their_closed_forms():
    rays = pixel_directions(2)
    assert rays[0, 0].tolist() == [-0.5, 0.5, -1.0] and rays[1, 1].tolist() == [0.5, -0.5, -1.0]
    ramp = torch.arange(4.0).expand(1, 1, 3, 4)  # 9 differences of 1 to the right, none down
    assert total_variation(ramp).item() == pytest.approx(2.0)


def test_all_loops_are_compared(tiny, small, tmp_path, monkeypatch, capsys):
    tiny("sd")
    monkeypatch.setattr(sys, "argv", [
        *("peers", "--pipeline", "sd", "--gaussians", "30", "--steps", "2", "--rounds", "1"),
        *("--acceleration", "auto", "--device", "cpu", "--out", str(tmp_path)),
    ])  # fmt: skip
    peers.main()
    with open(tmp_path / "peers_speed.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["loop"] for row in rows] == [*PEERS, f"{peers.OURS}, auto"]
    best = min(float(row["ms"]) for row in rows[:3])
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(best / float(row["ms"]), abs=0.011)
        assert row["gaussians"] == "30"
    assert capsys.readouterr().out.count(peers.OURS) >= 2
    assert rehearsal.COLUMNS != peers.COLUMNS
