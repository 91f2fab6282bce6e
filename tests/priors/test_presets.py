"""Presets of real priors: pinned as the catalogue has them, of the side their priors have."""

import pytest
import torch
import yaml

from flows.prompts_file import read_prompts
from stabledreamer.runtime.root import PRESETS, ROOT
from stabledreamer.runtime.settings import load_config, params_files, presets
from stabledreamer_core.distillation.target import evaluations
from stabledreamer_core.errors import UserError
from stabledreamer_core.priors.catalogue import known_source
from stabledreamer_core.priors.families import FAMILIES
from stabledreamer_core.priors.hub import COMMIT
from tasks.checks import clean_prompt
from tasks.code_reach import reached

BUNDLED = {"quick", "fine"}
REAL = [name for name in presets() if name not in BUNDLED]


def test_the_presets_are_those_promised() -> None:
    assert set(REAL) == {"paper", "open", "small", "sdxl", "sd3"}


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
@pytest.mark.parametrize("name", REAL)
def test_priors_are_pinned_and_rendered_at_their_side(name: str, stage: str) -> None:
    settings = getattr(load_config(preset=name), stage)
    known = known_source(settings.prior)
    assert known is not None and COMMIT.fullmatch(settings.revision)
    asked = (settings.revision, settings.variant, settings.dtype, settings.resolution)
    assert asked == (known.revision, known.variant, known.dtype, known.side)
    assert settings.view_words == "four", "front left view means little to these priors"


@pytest.mark.parametrize("name", REAL)
def test_shapes_are_made_under_the_measured_cure(name: str) -> None:
    config = load_config(preset=name)
    assert (config.stage1.view_bias.perp_neg, config.stage1.view_bias.interpolate) == (1.0, True)
    assert evaluations(config.stage1) == 4 and evaluations(config.stage2) == 2


@pytest.mark.parametrize("name", REAL)
def test_the_view_classifier_asks_a_prior_that_is_there(name: str) -> None:
    config = load_config(preset=name)
    asked = config.evaluate.view_prior
    stages = [(stage.prior, stage.revision) for stage in (config.stage1, config.stage2)]
    assert (asked.prior, asked.revision) in stages


def test_only_the_open_and_small_presets_promise_to_be_ungated() -> None:
    for name in ("open", "small", "sdxl"):
        config = load_config(preset=name)
        assert not any(known_source(one.prior).gated for one in (config.stage1, config.stage2))


def test_every_family_is_known_by_a_name() -> None:
    from stabledreamer_core.priors.catalogue import KNOWN

    assert {known.kind for known in KNOWN} == set(FAMILIES)


def test_quick_is_the_preset_of_that_name() -> None:
    assert load_config(quick=True) == load_config(preset="quick")
    with pytest.raises(UserError, match="--quick is itself a preset"):
        load_config(quick=True, preset="open")


def test_fine_is_what_was_measured() -> None:
    """The claims' table has it under the name of an ablation."""
    measured = yaml.safe_load((ROOT / "benchmarks/claims/gpu.yaml").read_text())["ablations"]
    assert load_config(preset="fine") == load_config(overrides=measured["latent-only-level"])


def test_a_file_is_laid_over_the_preset(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("stage1: {views: 7}")
    config = load_config(file, ["stage1.iterations=3"], preset="small")
    assert (config.stage1.views, config.stage1.iterations) == (7, 3)
    assert config.stage1.prior == load_config(preset="small").stage1.prior
    assert params_files(file, False, "small")[-1] == file


@pytest.mark.parametrize(("name", "says"), [("opne", "did you mean open"), ("x/../y", "there are")])
def test_unknown_presets_are_told(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_config(preset=name)


def test_headers_name_their_own_preset() -> None:
    for name in REAL:
        text = (PRESETS / f"{name}.yaml").read_text()
        assert f"--preset {name}" in text
        assert set(yaml.safe_load(text)) == {"gaussians", "stage1", "stage2", "evaluate"}


def test_the_gallery_can_be_made() -> None:
    prompts, seeds = read_prompts(ROOT / "prompts/gallery.yaml")
    assert len(set(prompts)) == len(prompts) > 30 and seeds == [0]
    assert [clean_prompt(prompt) for prompt in prompts] == prompts


def test_a_word_in_the_catalogue_makes_no_asset_anew() -> None:
    reach = reached("stabledreamer_core.optimization.stage")
    assert "stabledreamer_core/priors/prior.py" in reach
    assert "stabledreamer_core/priors/catalogue.py" not in reach


@pytest.mark.parametrize("name", ["open", "sd3"])
def test_the_lowest_noise_is_that_of_the_published_recipe(name: str) -> None:
    """RFDS: .3 of the flow; by equal signal to noise, with Stable Diffusion's betas written out."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)
    nearest = (abar / (1 - abar) - (0.7 / 0.3) ** 2).abs().argmin()
    config = load_config(preset=name)
    flows = [one for one in (config.stage1, config.stage2) if one.dtype == "bfloat16"]
    assert flows
    for stage in flows:
        assert stage.annealing.t_min[0] == pytest.approx(int(nearest) / 1000, abs=0.005)
