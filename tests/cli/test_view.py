"""The little web server: this machine alone, this folder alone."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("stabledreamer")


def test_serves_the_report_on_loopback_until_interrupted(tmp_path):
    asset = tmp_path / "asset"
    asset.mkdir()
    (asset / "report.html").write_text("<p>hello</p>")
    (tmp_path / "secret").write_text("secret")
    process = subprocess.Popen([COMMAND, "view", asset], stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().split()[0]
    try:
        assert url.startswith("http://127.0.0.1:") and url.endswith("/report.html")
        assert urllib.request.urlopen(url, timeout=10).read() == b"<p>hello</p>"
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(url.replace("report.html", "../secret"), timeout=10)
        renamed = urllib.request.Request(url, headers={"Host": "evil.example"})  # DNS rebinding
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(renamed, timeout=10)
    finally:
        process.send_signal(2)
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_serves_a_suites_gallery(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"prompt": f"toy {name}", "seed": 0}))
    process = subprocess.Popen([COMMAND, "view", tmp_path], stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().split()[0]
    try:
        page = urllib.request.urlopen(url, timeout=10).read().decode()
        assert "toy a" in page and "toy b" in page
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)
    finally:
        process.send_signal(2)
        process.communicate(timeout=10)
    assert process.returncode == 0


@pytest.mark.parametrize("what", ["gone", "file", "folder of other things"])
def test_what_is_no_asset_is_said_in_one_line(tmp_path, what):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder of other things").mkdir()
    (tmp_path / "folder of other things" / "notes.txt").write_text("")
    done = subprocess.run([COMMAND, "view", tmp_path / what], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and what in done.stderr
    assert "an asset's" in done.stderr and "a suite's" in done.stderr
