"""params.yaml is what the typed defaults say, so that a value stands in one place."""

import json
from pathlib import Path

import pytest
import yaml

from stabledreamer.runtime.root import PARAMS
from stabledreamer_core.errors import UserError
from stabledreamer_core.settings.config import Config, compose, load_config
from stabledreamer_core.settings.distillation import (
    Annealing,
    Inversion,
    Reward,
    Variational,
    ViewBias,
)
from stabledreamer_core.settings.output import Evaluate, Mesh, Turntable
from stabledreamer_core.settings.params_file import params_yaml
from stabledreamer_core.settings.scene import Cameras, Density, LearningRates, Regularizers
from stabledreamer_core.settings.stage import Stage

SECTIONS = (
    *(Annealing, Cameras, Inversion, LearningRates, Density, Regularizers, Reward, Variational),
    ViewBias,
)


def test_the_committed_file_is_made_from_the_settings() -> None:
    assert PARAMS.read_text(encoding="utf-8") == params_yaml()


def test_yaml_readers_find_the_defaults_in_it() -> None:
    assert yaml.safe_load(params_yaml()) == json.loads(Config().model_dump_json())


def test_no_line_is_too_long_and_every_setting_is_explained() -> None:
    assert max(map(len, params_yaml().splitlines())) <= 100
    for section in (
        Stage,
        Reward,
        Variational,
        ViewBias,
        LearningRates,
        Density,
        Regularizers,
        Mesh,
        Evaluate,
        Turntable,
    ):
        for name, field in section.model_fields.items():
            assert field.description or field.annotation in SECTIONS, (section, name)


def test_a_file_is_laid_over_the_defaults_of_its_own_stage(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("stage2: {guidance_scale: 9, density: {every: 7}}\n")
    config = load_config([file], ["stage1.views=5"])
    assert config.stage2.guidance_scale == 9.0 and config.stage2.density.every == 7
    assert config.stage2.density.start_count == Config().stage2.density.start_count == 28000
    assert config.stage1.views == 5 and config.stage1.guidance_scale == 2.0


def test_unknown_sections_are_refused() -> None:
    with pytest.raises(UserError, match="unknown setting training; allowed here: device"):
        compose([{"training": {"seed": 1}}])
