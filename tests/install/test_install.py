"""The installation: what `make venv` runs, and that nothing in it is of Linux alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = {"linux": "x86_64-manylinux_2_35", "macos": "macos", "windows": "windows"}
SOURCES = ("antlr4-python3-runtime",)  # without a wheel, but pure Python
UV = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture(scope="module")
def uv() -> list[str]:
    """The command `uv pip compile`, once it has reached an index."""
    if UV is None:
        pytest.skip("there is no uv")
    command = [UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    reached = subprocess.run([*command, "-"], input="filelock", capture_output=True, text=True)
    if reached.returncode:
        pytest.skip(f"no package index is reached: {reached.stderr.strip()[-200:]}")
    return command


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_dependency_resolves(uv, platform, python):
    """To wheels, within constraints.txt; uv looks no file up that the platform cannot use."""
    options = ["--only-binary", ":all:", *(f"--no-binary={name}" for name in SOURCES)]
    options += ["--python-platform", PLATFORMS[platform], "--python-version", python]
    options += ["--extra", "dev", "--extra", "docs", "-c", "constraints.txt", "pyproject.toml"]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}  # torch's oldest
    done = subprocess.run(
        [*uv, *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = {line.split("==")[0] for line in done.stdout.splitlines()}
    assert ("xatlas" in names) == (python != "3.14")
    assert {"torch", "protobuf", "accelerate", "filelock"} <= names
    assert names & {"open3d", "open3d-cpu"} == {"open3d-cpu" if platform == "linux" else "open3d"}


def test_no_module_of_ours_needs_what_only_unix_has():
    """Libraries do import these; they have their own ways off Linux."""
    code = """
import builtins, importlib, pkgutil
ours = ("stabledreamer_core", "toybox", "tasks", "flows", "stabledreamer")
found = builtins.__import__
def guarded(name, globals=None, *rest, **more):
    of = (globals or {}).get("__name__", "").split(".")[0]
    if of in ours and name in ("fcntl", "resource", "pwd", "grp", "termios", "pty", "syslog"):
        raise ImportError(f"{globals['__name__']} imports {name}")
    return found(name, globals, *rest, **more)
builtins.__import__ = guarded
count = 0
for name in ours:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(module.name)
        count += 1
print(count)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 150


class Checkout:
    """A folder with our Makefile, and a python and a uv that only write down how they are called.

    uv fails if there is a file `uv-fails`; pip does not know uv.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        for name in ("pyproject.toml", "constraints.txt"):
            (folder / name).touch()
        self._program(
            folder / ".venv" / "bin" / "python",
            'echo "python $*" >> calls\ncase "$*" in *" uv") exit 1;; esac\n',
        )
        self._program(folder / ".venv" / "bin" / "mkdocs", 'echo "mkdocs $*" >> calls\n')

    def _program(self, path: Path, body: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}")
        path.chmod(0o755)

    def with_uv(self) -> None:
        self._program(
            self.folder / "bin" / "uv",
            'echo "uv $*" >> calls\nenv | grep -E "^(UV|SSL)_" | sort > environment\n'
            "test ! -e uv-fails\n",
        )

    def make(
        self, *arguments: str, target: str = "venv", **environment: str
    ) -> tuple[list[str], str]:
        """The calls of `make`, in order, and what it says."""
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        done = subprocess.run(
            ["make", target, f"PYTHON={sys.executable}", *arguments],
            cwd=self.folder,
            env={"PATH": path, **environment},
            capture_output=True,
            text=True,
        )
        calls = self.folder / "calls"
        said = done.stdout + done.stderr
        return calls.read_text().splitlines() if calls.exists() else [], said

    def environment(self) -> dict[str, str]:
        lines = (self.folder / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@needs_make
def test_uv_is_told_what_pip_is_told(checkout):
    checkout.with_uv()
    index, extra = (
        "https://user:pa$s@one.invalid/simple",
        "https://two.invalid https://three.invalid",
    )
    calls, _ = checkout.make(
        "TORCH_INDEX=https://torch.invalid/cpu",
        PIP_FIND_LINKS="/a/wheels /more/wheels",
        PIP_INDEX_URL=index,
        PIP_EXTRA_INDEX_URL=extra,
        PIP_CERT="/a/cert.pem",
    )
    torch, rest = (call for call in calls if call.startswith("uv"))
    assert "--index-strategy unsafe-best-match -c constraints.txt" in torch
    assert torch.endswith("--extra-index-url https://torch.invalid/cpu torch")
    assert rest.endswith("-c constraints.txt -e .[dev]") and "torch.invalid" not in rest
    assert not any("-m pip" in call for call in calls)
    told = checkout.environment()
    assert told["UV_FIND_LINKS"] == "/a/wheels,/more/wheels"
    assert (told["UV_DEFAULT_INDEX"], told["UV_INDEX"]) == (index, extra)
    assert told["SSL_CERT_FILE"] == "/a/cert.pem"
    assert checkout.make()[0] == calls  # the stamp: nothing is installed twice


@needs_make
def test_what_uv_is_told_itself_comes_first(checkout):
    checkout.with_uv()
    checkout.make(PIP_INDEX_URL="https://pip.invalid", UV_DEFAULT_INDEX="https://uv.invalid")
    assert checkout.environment()["UV_DEFAULT_INDEX"] == "https://uv.invalid"


@needs_make
@pytest.mark.parametrize("why", ["no uv", "uv fails"])
def test_pip_is_the_way_where_uv_is_not(checkout, why):
    if why == "uv fails":
        checkout.with_uv()
        (checkout.folder / "uv-fails").touch()
    calls, said = checkout.make()
    pip = [call for call in calls if "-m pip" in call and not call.endswith(" uv")]
    assert [call.split("-c constraints.txt ")[1] for call in pip] == ["torch", "-e .[dev]"]
    assert "with pip" in said and (checkout.folder / ".venv" / "installed").exists()


@needs_make
def test_the_site_is_built_strictly_and_its_extra_installed_once(checkout):
    checkout.with_uv()
    first = checkout.make(target="docs")[0]
    dev, extra = (call for call in first if call.startswith("uv") and " -e " in call)
    assert dev.endswith("-e .[dev]") and extra.endswith("-c constraints.txt -e .[docs]")
    assert first[-1] == "mkdocs build --strict"
    assert checkout.make(target="docs")[0] == [*first, first[-1]]


@needs_make
def test_an_unfit_python_is_told(checkout):
    calls, said = checkout.make("PYTHON=")
    assert "needs Python 3.11 to 3.14" in said and not calls


def test_no_file_of_the_installation_names_a_registry():
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".github/workflows/ci.yml"):
        text = (ROOT / name).read_text()
        assert "://" not in text, name
