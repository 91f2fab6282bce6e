"""Campaigns of variants: the same prompts and seeds for each, nothing made twice."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.claims import variants
from benchmarks.claims.campaign import read_campaign
from stabledreamer_core.errors import UserError
from tests.tiny_families import build_prx_pixel

TINY = [
    *("gaussians.count=64", "gaussians.opacity=0.9", "evaluate.resolution=32"),
    *("evaluate.front_views=8", "evaluate.surface_samples=100", "stage2.density.start_count=0"),
    *("stage1.iterations=2", "stage1.views=1", "stage1.resolution=16"),
    *("stage2.iterations=1", "stage2.views=1", "stage2.resolution=32"),
    *("mesh.views=8", "mesh.view_resolution=32", "mesh.resolution=16", "mesh.smoothing=1"),
]


pytestmark = pytest.mark.filterwarnings("ignore:the prompt has")  # of these tiny tokenizers


@pytest.fixture
def run(tiny_if: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    build_prx_pixel().save_pretrained(tmp_path / "flow")
    priors = {"pixel": tiny_if, "flow": tmp_path / "flow"}
    shipped = read_campaign("flow_twin")[1].model_dump()
    shipped["variants"] = {name: [f"stage1.prior={prior}"] for name, prior in priors.items()}
    (tmp_path / "flow_twin.yaml").write_text(yaml.safe_dump(shipped, sort_keys=False))
    reuse = {"default": [f"stage1.prior={tiny_if}"]}
    reuse["reuse"] = [*reuse["default"], "stage1.target_reuse=2"]
    claims = [{"claim": "reuse", "ours": "reuse", "other": "default"}]
    content = {"variants": reuse, "claims": claims, "judged": ["stage2"], "cost": True}
    (tmp_path / "economy.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    options = [f"--set={setting}" for setting in [*TINY, f"stage2.prior={tiny_sd}"]]

    def run(name: str, *more: str) -> list[dict[str, Any]]:
        out = ["--out", str(tmp_path / name), "--workers", "0"]
        arguments = [str(tmp_path / f"{name}.yaml"), *out, "--count", "2", *options, *more]
        monkeypatch.setattr(sys, "argv", ["variants", *arguments])
        variants.main()
        lines = (tmp_path / name / "results.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return run


def test_assets_are_paired_and_made_once(run: Any, tmp_path: Path) -> None:
    made = run("flow_twin", "--batch", "4")
    keys = [(row["variant"], row["prompt"], row["seed"]) for row in made]
    assert len(set(keys)) == len(keys) == 4 * 2 * 3  # with and without stage 2, of either prior
    pairs = {variant: {key[1:] for key in keys if key[0] == variant} for variant, *_ in keys}
    assert all(pair == pairs["pixel"] for pair in pairs.values())
    assert all(row["metrics"]["colour_error"] is not None for row in made)
    of = {key: row["metrics"]["colour_error"] for key, row in zip(keys, made, strict=True)}
    prompt = made[0]["prompt"]
    assert of["flow-stage1", prompt, 0] != of["pixel-stage1", prompt, 0]

    # An asset without its row is made again, and nothing else.
    lost = [row for row in made if (row["variant"], row["prompt"], row["seed"]) != keys[-1]]
    file = tmp_path / "flow_twin/results.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in lost))
    again = run("flow_twin", "--batch", "4")[len(lost) :]
    assert {(row["prompt"], row["seed"]) for row in again} == {keys[-1][1:]}
    assert {row["variant"] for row in again} == {keys[-1][0], keys[-1][0] + "-stage1"}

    with open(tmp_path / "flow_twin/flow_twin.csv") as table:
        assert len(list(csv.DictReader(table))) == len(keys)


@pytest.mark.slow
def test_meshes_are_measured_wherever_the_gaussians_are(run: Any) -> None:
    made = len(run("flow_twin", "--count", "1"))
    measured = run("flow_twin", "--count", "1", "--meshes", "--workers", "1")[made:]
    assert [row["variant"] for row in measured] == ["pixel"] * 3 + ["flow"] * 3
    assert all("chamfer" in row["metrics"] and row["meshed"] for row in measured)


def test_a_campaign_of_cost_has_seconds_beside_quality(run: Any, tmp_path: Path) -> None:
    default = run("economy", "--count", "1", "--only", "default")
    assert [row["variant"] for row in default] == ["default"] * 3  # final assets alone
    made = run("economy", "--count", "1")  # goes on with what is missing
    assert made[:3] == default
    assert [row["variant"] for row in made[3:]] == ["reuse"] * 3
    assert all(row["batch"] == 3 and row["device"] for row in made)
    assert all(row["stages"]["stage2"] > 0.0 for row in made)
    assert all("depth_chamfer" in row["metrics"] for row in made)

    text = (tmp_path / "economy/economy.md").read_text()
    total = [
        sum(sum(row["stages"].values()) for row in rows)  # of all assets, that is of the batch
        for rows in (made[:3], made[3:])
    ]
    (line,) = [line for line in text.splitlines() if line.startswith("| reuse |")]
    assert line.split(" | ")[3] == f"{total[1] / total[0]:.2f}"
    with open(tmp_path / "economy/economy.csv") as table:
        lines = list(csv.DictReader(table))
    assert len(lines) == 6
    assert sum(float(line["stage1_seconds"]) for line in lines[:3]) == pytest.approx(
        sum(row["stages"]["stage1"] for row in made[:3]), abs=1e-5
    )


def test_the_shipped_campaigns_are_of_known_settings_and_variants() -> None:
    _, flow = read_campaign("flow_twin")
    assert flow.config("flow", []).stage1.prior == "priors/toybox-flow"
    name, economy = read_campaign("economy")
    assert name == "economy" and economy.cost
    plain = economy.config("default", [])
    changed = {variant: economy.config(variant, []) for variant in economy.variants}
    assert [variant for variant, config in changed.items() if config == plain] == ["default"]
    assert {claim.ours for claim in economy.claims} == set(economy.variants) - {"default"}
    assert all(config.stage1.iterations == plain.stage1.iterations for config in changed.values())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"variants": {"a": ["stage1.vews=1"]}}, "variant a: .*vews"),
        ({"variants": {"a": ["stage1.views=0"]}}, "variant a: .*views"),
        ({"claims": [{"claim": "c", "ours": "a", "other": "b"}]}, "b, which is no variant"),
        ({"judge": ["stage2"]}, "judge"),
        ({"variants": {"../a": []}}, "variants"),
        ({"judged": ["stage1"]}, "judged must name stage2"),
    ],
)
def test_a_wrong_campaign_is_told_in_one_line(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"variants": {"a": []}, "claims": []} | change))
    with pytest.raises(UserError, match=told) as error:
        read_campaign(str(file))
    assert "\n" not in str(error.value)


def test_an_unknown_campaign_or_variant_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, told in ((["thrift"], "no campaign thrift"), (["economy", "--only", "x"], "x")):
        monkeypatch.setattr(sys, "argv", ["variants", *options])
        with pytest.raises(SystemExit, match=told):
            variants.main()


def test_the_comparison_is_of_the_flow_against_the_pixel_prior(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(variant: str, error: float) -> list[dict[str, Any]]:
        figures = {"colour_error": error}  # without what newer rows have: published before
        return [
            {"variant": variant, "prompt": f"toy {n}", "seed": seed, "metrics": figures}
            for n in range(6)
            for seed in range(3)
        ]

    found = rows("flow", 0.02) + rows("pixel", 0.05)
    variants.publish(found, *read_campaign("flow_twin"), tmp_path)
    text = (tmp_path / "flow_twin.md").read_text()
    assert text in capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("| colour_error")]
    assert "| 0.020 | 0.050 | -0.030" in line and "0.0312 | 6 |" in line  # p: 2 / 2^6
