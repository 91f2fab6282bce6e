"""Settings are searched on the tune prompts; claims are published on the test prompts, alone."""

from pathlib import Path

import pytest
import yaml

from stabledreamer.runtime.root import ROOT
from toybox.captions import parse
from toybox.catalogue import Toy
from toybox.heldout import heldout_combinations, is_heldout
from toybox.prompts import heldout_prompts

PUBLISHED = ("benchmarks/claims/gpu.yaml", "benchmarks/claims/small.yaml", "prompts/toybox.yaml")
# On priors that no setting was searched with, and on every toy with a front, as few as they are.
OF = ("", "-heldout", "-words", "-strong", "-schedules", "-cures", "-picture", "-perp-neg")
EXPERIMENTS = tuple(f"benchmarks/claims/faces{of}.yaml" for of in OF)


def prompts_of(file: Path) -> list[str]:
    prompts = yaml.safe_load(file.read_text())["prompts"]
    if isinstance(prompts, str):
        return prompts_of(ROOT / prompts)
    return list(prompts.values()) if isinstance(prompts, dict) else prompts


def asking() -> dict[str, list[str]]:
    """Every benchmark file that names prompts."""
    folders = ("benchmarks/claims", "benchmarks/search", "prompts")
    files = [file for folder in folders for file in sorted((ROOT / folder).glob("*.yaml"))]
    files.remove(ROOT / "prompts/gallery.yaml")  # of no toys
    return {
        file.relative_to(ROOT).as_posix(): prompts_of(file)
        for file in files
        if "prompts" in yaml.safe_load(file.read_text())
    }


def toy_of(prompt: str) -> Toy:
    toy = parse(prompt).toy
    assert toy is not None, prompt
    return toy


def test_the_parts_share_nothing_and_are_everything() -> None:
    tune, test = heldout_combinations("tune"), heldout_combinations("test")
    assert len(tune) == 6 and len(test) == 12
    assert not set(tune) & set(test)
    assert set(tune) | set(test) == set(heldout_combinations())


def test_searches_score_tune_prompts_alone() -> None:
    searches = {name: asked for name, asked in asking().items() if "/search/" in name}
    assert len(searches) >= 4
    for name, prompts in searches.items():
        assert all(is_heldout(toy_of(prompt), "tune") for prompt in prompts), name


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_are_of_test_prompts_alone(name: str) -> None:
    prompts = asking()[name]
    assert all(is_heldout(toy_of(prompt), "test") for prompt in prompts)


def test_no_published_prompt_was_scored_before_the_split() -> None:
    """The first searches took one prompt of each combination, by the same rule."""
    scored = set(heldout_prompts("test", (1,)))
    scored |= {"a brown duck wearing a top hat", "a green snowman wearing a top hat"}
    for name in PUBLISHED:
        assert not scored & set(asking()[name]), name


def test_every_file_of_prompts_is_of_one_part() -> None:
    for name, prompts in asking().items():
        parts = {part for part in ("tune", "test") for p in prompts if is_heldout(toy_of(p), part)}
        assert len(parts) == (2 if name in EXPERIMENTS else 1), name
