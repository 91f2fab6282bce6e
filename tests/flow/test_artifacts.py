"""What Prefect's page shows: links, pictures, text that cannot break out; never a failure."""

import html
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stabledreamer.runtime import artifacts, pages, progress
from stabledreamer_core.optimization.observe import Progress


@pytest.mark.parametrize(
    ("name", "key"),
    [("a-red-bear-s0", "a-red-bear-s0"), ("My Bear_2", "my-bear-2"), ("熊", "asset")],
)
def test_keys_have_the_letters_that_prefect_allows(name, key):
    assert artifacts.artifact_key(Path("outputs") / name) == key


@given(st.text())
def test_escaped_text_has_no_markup_left(text):
    escaped = artifacts.escaped(text)
    assert "\n" not in escaped
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped)  # without what Markdown shows as it is
    assert not re.search(r"[<>|`*_\[\]&#]", bare)
    assert re.sub(r"\\(.)", r"\1", escaped) == " ".join(text.split())


def test_a_report_is_linked_where_it_is_shown_and_named_where_not(tmp_path, monkeypatch):
    outputs = tmp_path / "outputs"
    monkeypatch.setenv(pages.PAGES, f"http://127.0.0.1:4201 {outputs}")
    link = artifacts.report_link(outputs / "a b")
    assert link == "[report](http://127.0.0.1:4201/a%20b/report.html)"
    elsewhere = tmp_path / "elsewhere"
    assert artifacts.report_link(elsewhere) == f"`{elsewhere}/report.html`"
    monkeypatch.delenv(pages.PAGES)
    assert artifacts.report_link(outputs) == f"`{outputs}/report.html`"


def test_the_gallery_is_linked_where_it_is_shown(tmp_path, monkeypatch):
    outputs = tmp_path / "outputs"
    monkeypatch.setenv(pages.PAGES, f"http://127.0.0.1:4201 {outputs}")
    assert artifacts.gallery_link(outputs) == "[gallery](http://127.0.0.1:4201/)"
    suite = artifacts.gallery_link(outputs / "my suite" / "a&b")
    assert suite == "[gallery](http://127.0.0.1:4201/?q=my%20suite%2Fa%26b)"
    assert artifacts.gallery_link(tmp_path) == ""


def test_pictures_travel_in_the_text(tmp_path):
    Image.new("RGB", (1000, 500), "red").save(tmp_path / "preview.png")
    uri = artifacts.embedded(tmp_path / "preview.png", 100)
    assert uri.startswith("data:image/jpeg;base64,") and len(uri) < 3000
    assert html.escape(uri) == uri


def test_nothing_here_fails_a_run(tmp_path):
    artifacts.publish_asset(tmp_path / "gone", {"prompt": "a bear", "seed": 0, "metrics": {}})


def test_a_lost_server_is_asked_once(monkeypatch):
    asked = []

    def refuse(*arguments, **options):
        asked.append(arguments)
        raise OSError("connection refused")

    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    monkeypatch.setattr(progress, "create_progress_artifact", lambda *a, **k: "id")
    monkeypatch.setattr(progress, "update_progress_artifact", refuse)
    with progress._artifact("stage 1", "key", progress.FIGURES) as update:
        for step in (1, 2, 3):
            update(Progress(step=step, iterations=3, loss=0.0, seconds=0.0))
    assert len(asked) == 1


def test_progress_ends_at_100(monkeypatch):
    shown = []
    monkeypatch.setattr(progress, "EVERY_S", 1000.0)
    monkeypatch.setattr(progress, "create_progress_artifact", lambda *a, **k: "id")
    monkeypatch.setattr(progress, "update_progress_artifact", lambda _, value: shown.append(value))
    with progress._artifact("stage 1", "key", progress.FIGURES) as update:
        for step in (1, 2, 3):
            update(Progress(step=step, iterations=3, loss=0.0, seconds=0.0))
    assert shown == [100.0]


def test_at_most_so_many_figures_are_sent(monkeypatch):
    shown = []
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    monkeypatch.setattr(progress, "create_progress_artifact", lambda *a, **k: "id")
    monkeypatch.setattr(progress, "update_progress_artifact", lambda _, value: shown.append(value))
    with progress._artifact("stage 1", "key", 4) as update:
        for step in range(1, 101):
            update(Progress(step=step, iterations=100, loss=0.0, seconds=0.0))
    assert shown == [25.0, 50.0, 75.0, 100.0]


def test_a_flow_run_leaves_its_page_in_prefect(make, tmp_path):
    from prefect.client.orchestration import get_client

    make(tmp_path / "bear-on-show")
    with get_client(sync_client=True) as client:
        found = {artifact.key: artifact for artifact in client.read_artifacts()}
    page = found["bear-on-show"]
    assert page.type == "markdown" and page.data.startswith("# a red bear, seed 0\n")
    assert "data:image/jpeg" in page.data and "| stage1 | 6 |" in page.data
    assert found["bear-on-show-stage-1"].data == found["bear-on-show-stage-2"].data == 100.0
