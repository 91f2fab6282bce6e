"""What the report is made of: the packed Gaussians, the command, the curves."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.scene.gaussians import Splats
from stabledreamer_core.settings.config import Config
from tasks.report.again import command
from tasks.report.charts import loss_chart, noise_chart
from tasks.report.costs import duration
from tasks.report.packed import packed_ply, weightiest


def cloud(count: int) -> Splats:
    draw = torch.Generator().manual_seed(3)
    return {
        "means": torch.rand(count, 3, generator=draw) * 2 - 1,
        "quats": torch.randn(count, 4, generator=draw),
        "scales": torch.rand(count, 3, generator=draw) * 3 - 5,
        "opacities": torch.randn(count, generator=draw) * 2,
        "colors": torch.randn(count, 3, generator=draw),
    }


@pytest.mark.parametrize("count", [1, 700])
def test_another_programs_reader_finds_the_packed_gaussians(tmp_path: Path, count: int) -> None:
    pytest.importorskip("gsply")
    from stabledreamer_core.assets.splats.compressed_ply import load_compressed_ply

    splats = cloud(count)
    content = packed_ply(splats)
    assert len(content) < 16 * count + 72 * -(-count // 256) + 1000
    (tmp_path / "a.ply").write_bytes(content)
    back = load_compressed_ply(tmp_path / "a.ply")
    distances = torch.cdist(splats["means"], back["means"])
    nearest = distances.argmin(1)
    assert distances.min(1).values.max() < 2e-3 and len(nearest.unique()) == count
    unit = torch.nn.functional.normalize
    turned = (unit(splats["quats"]) * unit(back["quats"][nearest])).sum(1).abs()
    assert turned.min() > 0.99999
    for name, bits in (("scales", 3 / 1023), ("opacities", 1 / 255), ("colors", 1 / 255)):
        was, now = splats[name], back[name][nearest]
        if name != "scales":
            was, now = was.sigmoid(), now.sigmoid()
        assert (was - now).abs().max() < 0.6 * bits


def test_of_too_many_the_page_keeps_those_that_cover_most():
    splats = cloud(100)
    splats["scales"][7], splats["opacities"][7] = 1.0, 4.0
    splats["scales"][8] = torch.tensor([-20.0, 0.9, 0.9])  # thin, but broad
    splats["opacities"][8] = 4.0
    kept = weightiest(splats, 2)
    assert sorted(kept["means"].tolist()) == sorted(splats["means"][7:9].tolist())


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        (None, []),
        ("quick", ["mesh.texture=false"]),
        ("paper", ["stage1.annealing.t_max=[0.9, 0.3]", "stage1.revision=null"]),
        (None, ["export.formats=[spz, sog]", "turntable.background=[0, 0, 0]", "debug.every=5"]),
    ],
)
def test_the_command_makes_the_same_settings_again(preset, overrides):
    config = load_config(overrides=overrides, preset=preset)
    record = {"prompt": "a cat", "seed": 4, "config": config.model_dump(mode="json")}
    said, whole = command(record)
    words = shlex.split(said)
    assert whole and words[:5] == ["stabledreamer", "dream", "a cat", *words[3:5]]
    assert words[words.index("--seed") + 1] == "4"
    again = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    named = words[words.index("--preset") + 1] if "--preset" in words else None
    assert named == (preset if preset != "quick" else None)
    assert len(again) == len(overrides)
    assert load_config(overrides=again, preset=named, quick="--quick" in words) == config


@given(st.text(min_size=1))
def test_any_prompt_is_one_word_of_the_command(prompt):
    record = {"prompt": prompt, "seed": 0, "config": {"of": "another version"}}
    said, whole = command(record)
    words = shlex.split(said)
    assert not whole and words.count(prompt) == 1
    assert not prompt.startswith("-") or words[-2:] == ["--", prompt]


def polylines(svg: str, kind: str = "thick") -> list[np.ndarray]:
    """[N, 2] points of each."""
    found = re.findall(rf'class="{kind}" points="([^"]*)"', svg)
    return [np.array([list(map(float, p.split(","))) for p in text.split()]) for text in found]


def marks(svg: str, along: str) -> dict[float, float]:
    """Where the numbers on an axis stand, by what they say."""
    where = {"x": r'<text x="([\d.]+)" y="[\d.]+" text-anchor="(?:middle|end)">([\d.e-]+)<',
             "y": r'y="([\d.]+)" dy=".35em" text-anchor="end">([\d.e-]+)<'}[along]  # fmt: skip
    return {float(value): float(at) for at, value in re.findall(where, svg)}


def read(svg: str, points: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Data back from pixels, by the numbers on the axes alone."""
    values = []
    for axis, scale in (("x", np.asarray), ("y", np.log10 if log else np.asarray)):
        known = marks(svg, axis)
        assert len(known) >= 2
        line = np.polyfit(list(known.values()), scale(list(known)), 1)
        values.append(np.polyval(line, points[:, "xy".index(axis)]))
    return values[0], 10 ** values[1] if log else values[1]


@pytest.mark.parametrize("ratio", [0.999, 0.97, 0.8])
@pytest.mark.parametrize("iterations", [60, 450, 10_000])
def test_the_loss_can_be_read_off_its_axes(iterations, ratio):
    stride = max(1, iterations // 100)
    losses = [0.3 * ratio**index for index in range(len(range(0, iterations, stride)))]
    svg = loss_chart(losses, iterations, "stage 1")
    steps, values = read(svg, polylines(svg, "thin")[0], log=True)
    np.testing.assert_allclose(steps, np.arange(len(losses)) * stride, atol=iterations / 300)
    np.testing.assert_allclose(np.log10(values), np.log10(losses), atol=0.02)


def test_a_resumed_stages_losses_end_at_its_end():
    svg = loss_chart([0.2, 0.1, 0.05], 400, "stage 1")
    steps, _ = read(svg, polylines(svg, "thin")[0], log=True)
    assert steps[0] > 380 and "last resumed" in svg


@pytest.mark.parametrize("losses", [[], [0.1], [0.0, 0.0], [float("nan"), 0.1]])
def test_nothing_to_draw_is_no_curve(losses):
    assert loss_chart(losses, 4, "stage 1") == ""


def test_the_noise_levels_can_be_read_off():
    stage = Config().stage1
    svg = noise_chart(stage.annealing.model_dump(), 900, "stage 1")
    high, low = polylines(svg)
    steps, levels = read(svg, high, log=False)
    assert steps[-1] == pytest.approx(900, abs=3)
    assert (levels[0], levels[-1]) == pytest.approx(stage.annealing.t_max, abs=0.01)
    assert read(svg, low, log=False)[1][[0, -1]] == pytest.approx(stage.annealing.t_min, abs=0.01)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (3599.6, "1 h 0 min"),
     (125.4, "2 min 5 s"), (7261, "2 h 1 min")],
)  # fmt: skip
def test_durations(seconds, said):
    assert duration(seconds).replace("\u00a0", " ") == said
