"""The architectures of the rehearsal are the published ones, counted without memory."""

import pytest

from benchmarks.speed.architectures import TOLERANCE, build, count, published, read
from stabledreamer_core.priors.families import FAMILIES


@pytest.mark.parametrize("name", read()["components"])
def test_component_has_its_published_count(name):
    component = read()["components"][name]
    found = count(build(name, "meta"), component.get("buffers", False))
    assert found == component["counted"]
    assert component["source"]
    if component["published"] is None:
        assert "no published count found" in component["source"]
        return
    expected, rounding = published(component["published"])
    assert abs(found - expected) <= max(TOLERANCE * expected, rounding)


@pytest.mark.parametrize(
    ("figure", "expected"),
    [("4.3 B", (4.3e9, 5e7)), ("400 M", (4e8, 5e7)), ("84 M", (84e6, 5e5)), ("1230", (1230, 0.5))],
)
def test_published_count_and_its_rounding(figure, expected):
    assert published(figure) == pytest.approx(expected)


def test_every_family_has_a_pipeline_of_its_classes():
    pipelines, components = read()["pipelines"], read()["components"]
    assert {pipeline["index"]["_class_name"] for pipeline in pipelines.values()} == set(FAMILIES)
    for pipeline in pipelines.values():
        family = FAMILIES[pipeline["index"]["_class_name"]]
        named = {*pipeline["components"], *pipeline["tokens"], "scheduler"}
        assert named == set(family.components)
        for part, name in pipeline["components"].items():
            assert components[name]["class"] in family.components[part]
