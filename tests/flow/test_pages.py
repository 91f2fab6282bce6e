"""What the server of assets gives out, and what it does not."""

import json
import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stabledreamer.runtime.gallery import gallery_page
from stabledreamer.runtime.pages import pages_app

VIDEO = bytes(range(100))
EVIL = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>{{ 7 * 7 }}"


def asset(folder: Path, prompt: str, seed: int = 0, **metrics: object) -> Path:
    folder.mkdir(parents=True)
    record = {
        "prompt": prompt,
        "seed": seed,
        "stages": {"stage1": {"seconds": 2.0}, "stage2": {"seconds": 3.0 + seed}},
        "metrics": metrics,
    }
    (folder / "run.json").write_text(json.dumps(record))
    (folder / ".prompt.json").write_text(json.dumps({"prompt": prompt, "seed": seed}))
    (folder / "report.html").write_text("<p>report</p>")
    (folder / "turntable.mp4").write_bytes(VIDEO)
    (folder / "mesh.glb").write_bytes(b"glTF")
    return folder


@pytest.fixture
def suite(tmp_path):
    folder = tmp_path / "suite"
    asset(folder / "a", "a red bear", 2, chamfer=0.03, f_score=0.7, frontal=0.5)
    asset(folder / "b", "a blue car", 0, chamfer=0.01, f_score=0.9, frontal=0.0)
    asset(folder / "c", "a green teapot", 1, chamfer=0.02, f_score=0.8, frontal=0.125)
    asset(folder / "d", "a dragon")
    (folder / "unfinished").mkdir()
    (folder / "unfinished" / ".prompt.json").write_text('{"prompt": "a duck", "seed": 5}')
    (tmp_path / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def client(suite):
    return TestClient(pages_app(suite), "http://127.0.0.1")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("0-", 0, 99), ("10-19", 10, 19), ("-5", 95, 99), ("90-500", 90, 99)],
)
def test_a_range_of_a_video(client, asked, first, last):
    answer = client.get("/a/turntable.mp4", headers={"Range": f"bytes={asked}"})
    assert (answer.status_code, answer.content) == (206, VIDEO[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/100"
    assert answer.headers["content-type"] == "video/mp4"


def test_ranges_that_are_several_or_none(client):
    several = client.get("/a/turntable.mp4", headers={"Range": "bytes=0-1,50-51"})
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert VIDEO[50:52] in several.content
    beyond = client.get("/a/turntable.mp4", headers={"Range": "bytes=100-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */100")


def test_head_and_types(client):
    head = client.head("/a/mesh.glb")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "4")
    assert head.headers["content-type"] == "model/gltf-binary"
    assert head.headers["accept-ranges"] == "bytes"
    assert client.head("/").status_code == 200
    assert client.post("/a/mesh.glb").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/%2e%2e/secret.txt", "/a/..%2f..%2fsecret.txt", "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt", "/%252e%252e/secret.txt", "//secret.txt", "/a/../../secret.txt",
        "/a/.prompt.json", "/a/%2eprompt.json", "/a/x/../.prompt.json", "/.git/config",
        "/a/", "/a", "/%00", "/a/mesh.glb%00.png", "/" + "a" * 5000,
    ],
)  # fmt: skip
def test_nothing_hidden_and_no_way_out(suite, path):
    """The path as it stands in the request: a client would tidy it up."""
    (suite / ".git").mkdir()
    (suite / ".git" / "config").write_text("secret")
    status, body = raw(suite, path)
    assert status == 404
    assert b"secret" not in body and b"red bear" not in body


def raw(folder: Path, path: str) -> tuple[int, bytes]:
    import asyncio
    from urllib.parse import unquote

    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode(),
        "root_path": "", "query_string": b"", "headers": [], "scheme": "http",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(pages_app(folder)(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_links_stay_in_the_folder(suite, client):
    os.symlink(suite.parent / "secret.txt", suite / "a" / "out.txt")
    os.symlink(suite.parent, suite / "a" / "up")
    os.symlink(suite / "a" / ".prompt.json", suite / "a" / "shown.json")
    os.symlink(suite / "b" / "mesh.glb", suite / "a" / "inner.glb")
    asset(suite.parent / "elsewhere", "a stranger")
    os.symlink(suite.parent / "elsewhere", suite / "linked")
    for path in ("/a/out.txt", "/a/up/secret.txt", "/a/shown.json", "/linked/report.html"):
        assert client.get(path).status_code == 404
    assert client.get("/a/inner.glb").content == b"glTF"
    assert "a stranger" not in client.get("/").text


def test_what_a_page_may_load(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy
    assert page.text.count(f'nonce="{nonce}"') == page.text.count("<script") + 1
    assert client.get("/").headers["content-security-policy"] != policy
    assert "style=" not in page.text and "onclick" not in page.text
    assert "script-src" not in client.get("/a/run.json").headers["content-security-policy"]
    assert "http://" not in page.text and "https://" not in page.text


def test_a_hostile_prompt_is_text(suite):
    asset(suite / "evil'\"><b>", EVIL)
    page, _ = gallery_page(suite, query="<script>")
    assert "1 of 6 assets" in page
    assert page.count("<script") == 1 and "<img src=x" not in page and "49" not in page
    assert "&lt;script&gt;alert" in page and "<b>" not in page
    assert 'href="/evil%27%22%3E%3Cb%3E/report.html"' in page


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", "abcd"),
        ("prompt", "bdca"),
        ("seed", "bdca"),
        ("chamfer", "bcad"),  # least first
        ("f_score", "bcad"),  # greatest first
        ("frontal", "cbad"),  # nearest to .125 first
        ("no such", "abcd"),
    ],
)
def test_sorted(suite, sort, order):
    page, _ = gallery_page(suite, sort)
    places = [page.index(f'href="/{name}/mesh.glb"') for name in order]
    assert places == sorted(places)
    chosen = sort if sort != "no such" else "name"
    assert f'<option value="{chosen}" selected>' in page
    assert "chamfer ↓" in page and "f score ↑" in page and "frontal → 0.125" in page


def test_search_hides_what_does_not_match(suite):
    page, _ = gallery_page(suite, query="Bear RED")
    assert "1 of 5 assets" in page and page.count(" hidden>") == 4
    assert '<li data-text="a red bear a">' in page


def test_an_unfinished_asset_is_said_to_be_so(suite):
    page, _ = gallery_page(suite)
    assert "5 of 5 assets" in page and "1 without a result" in page
    card = page[page.index("<h2>a duck") :]
    assert "unfinished" in card and "seed 5" in card and "href=" not in card


@pytest.mark.parametrize(
    "record",
    ["", "[]", "[" * 100000, '{"prompt": 3, "metrics": 4, "stages": [1], "seed": "x"}',
     '{"metrics": {"chamfer": NaN, "view": 1e999, "f_score": "<b>", "x": {}}}',
     '{"seed": ' + "9" * 5000 + "}", '{"prompt": "\\ud800"}',
     '{"metrics": {"chamfer": ' + "9" * 400 + "}}"],
)  # fmt: skip
def test_a_damaged_record_hides_no_other_asset(suite, client, record):
    (suite / "b" / "run.json").write_text(record)
    for sort in ("name", "chamfer", "prompt", "seed", "seconds"):
        page = client.get("/", params={"sort": sort})
        assert page.status_code == 200
        assert "5 of 5 assets" in page.text and "a red bear" in page.text and "<b>" not in page.text


def test_one_asset_is_its_report(suite):
    answer = TestClient(pages_app(suite / "a"), "http://127.0.0.1").get("/")
    assert answer.text == "<p>report</p>"
    policy = answer.headers["content-security-policy"]
    assert "script-src 'unsafe-inline'" in policy and "'self'" not in policy
    assert "sandbox allow-scripts allow-downloads" in policy  # an origin of its own


def test_suites_in_a_folder(tmp_path):
    asset(tmp_path / "toybox" / "a", "a red bear")
    asset(tmp_path / "b", "a blue car")
    page, _ = gallery_page(tmp_path)
    assert 'href="/toybox/a/report.html"' in page and "2 of 2 assets" in page


def test_a_folder_whose_name_is_no_text(tmp_path):
    asset(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")), "a red bear")
    page, _ = gallery_page(tmp_path)
    assert 'href="/%FF/report.html"' in page and page.encode()


def test_an_empty_folder(tmp_path):
    page, _ = gallery_page(tmp_path)
    assert "no asset here yet" in page
