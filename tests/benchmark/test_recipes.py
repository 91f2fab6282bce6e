"""Every recipe loads, and asks the prior as often as what it is compared with."""

import math
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from benchmarks.claims.small_asset import recipe_config as small_config
from benchmarks.search.results import read_results, recipe_config
from stabledreamer.runtime.root import ROOT
from stabledreamer.runtime.settings import load_config
from stabledreamer_core.distillation.target import evaluations
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import Stage

PEERS = sorted((ROOT / "params/recipes").glob("*.yaml"))
SMALL = yaml.safe_load((ROOT / "benchmarks/claims/small.yaml").read_text())
GPU = yaml.safe_load((ROOT / "benchmarks/claims/gpu.yaml").read_text())
PEER_CALLS = 1200  # those of the default when the peers' recipes were made (docs/benchmark.md)
PEER_GAUSSIANS = 28000
SDS = ("random", "one_step")
PEER_METHODS = {
    "cfd": ("object", "one_step"),
    "luciddreamer": ("inverted", "interval"),
    "prolificdreamer": ("random", "variational"),
    "sdi": ("inverted", "one_step"),
}


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


def calls(stage: Stage) -> int:
    """Guided questions about an image."""
    asked = math.ceil(stage.iterations / stage.target_reuse) * stage.views
    return asked * evaluations(stage) // 2


def all_calls(config: Config) -> int:
    return calls(config.stage1) + calls(config.stage2)


@pytest.mark.parametrize("path", PEERS, ids=lambda path: path.stem)
def test_peers(path: Path):
    config = load_config(path)
    assert all_calls(config) == PEER_CALLS
    for stage in (config.stage1, config.stage2):
        if stage.iterations:
            assert stage.resolution == (64 if stage.prior.endswith("-if") else 256)
            assert (stage.x0_limit, stage.target_reuse) == ("none", 1)
            assert (stage.noise, stage.target) == PEER_METHODS.get(path.stem, SDS)
    final = config.gaussians.count
    if config.stage2.iterations:
        final = config.stage2.density.start_count
        assert config.stage1.prior == config.stage2.prior
    assert final == PEER_GAUSSIANS


@pytest.mark.parametrize("path", PEERS, ids=lambda path: path.stem)
def test_noise_levels_go_on_in_stage_2_where_stage_1_ended(path: Path):
    config = load_config(path)
    first, second = config.stage1.annealing, config.stage2.annealing
    if config.stage2.iterations and first.schedule in ("linear", "sqrt"):
        assert (second.t_min[0], second.t_max[0]) == (first.t_min[1], first.t_max[1])
    if config.stage2.iterations:
        rates = config.stage1.learning_rates, config.stage2.learning_rates
        assert rates[0].means[1] == rates[1].means[0]


def test_all_peers_are_in_the_benchmark():
    named = {variant[0] for variant in GPU["peers"].values()}
    assert named == {f"params/recipes/{path.name}" for path in PEERS}
    assert len(PEERS) == 9


@pytest.mark.parametrize("peer", [path.stem for path in PEERS])
def test_equal_terms_are_the_peers_best_guidance_on_tune_prompts(peer: str):
    tried = yaml.safe_load((ROOT / "benchmarks/search/peers.yaml").read_text())["recipes"]
    chamfer: dict[str, list[float]] = {}
    for row in read_results(ROOT / "metrics/experiments/peers.jsonl"):
        if row["variant"].startswith(f"{peer}-"):
            chamfer.setdefault(row["variant"], []).append(row["metrics"]["chamfer"])
    assert len(chamfer) >= 3 and {len(found) for found in chamfer.values()} == {12}
    best = min(chamfer, key=lambda variant: fmean(chamfer[variant]))
    assert GPU["peers"][f"{peer}-ours"] == tried[best]


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_equal_time_changes_the_steps_alone(stage: str):
    def recipes(name: str) -> dict[str, list[str]]:
        read = yaml.safe_load((ROOT / f"benchmarks/claims/{name}_{stage}.yaml").read_text())
        return {key: [*read["base"], *found] for key, found in read["recipes"].items()}

    calls, times = recipes("targets"), recipes("times")
    for name, found in times.items():
        longer = recipe_config(found)
        settings = recipe_config(calls[name]).stage(stage)
        assert longer.stage(stage).iterations <= 1.2 * settings.iterations
        same = longer.stage(stage).model_copy(update={"iterations": settings.iterations})
        assert same == settings, name


@pytest.mark.parametrize("variant", GPU["recipes"])
def test_gpu_variants(variant: str):
    default = load_config()
    other = {  # on purpose
        "stage1-alone": calls(default.stage1),
        "one-use-900": 3 * calls(default.stage1) + calls(default.stage2),
        **dict.fromkeys(GPU["peers"], PEER_CALLS),
    }
    asked = all_calls(recipe_config(GPU["recipes"][variant]))
    assert asked == other.get(variant, all_calls(default))


def test_gpu_variants_differ():
    configs = [recipe_config(GPU["recipes"][name]).model_dump_json() for name in GPU["recipes"]]
    assert len(set(configs)) == len(configs)


@pytest.mark.parametrize("recipe", SMALL["recipes"])
def test_small_recipes(recipe: str):
    config = small_config(SMALL, recipe)
    assert all_calls(config) == all_calls(load_config(quick=True))
    assert config.device == "cpu"
