"""The little web server: this machine alone, this folder alone."""

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
