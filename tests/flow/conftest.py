"""A whole run made small: tiny priors of the real classes, one Prefect for all tests."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

# Before anything imports Prefect, so that tests leave the repository's cache alone.
os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="prefect-"))

PROMPT = "a red bear"


@pytest.fixture(scope="session")
def params(tiny_if, tiny_sd, tmp_path_factory) -> Path:
    """A settings file: few steps, small images, the tiny priors."""
    path = tmp_path_factory.mktemp("params") / "tiny.yaml"
    stage = {"views": 1, "density": {"every": 2}}
    settings = {
        "device": "cpu",
        "gaussians": {"count": 200, "opacity": 0.9},
        "stage1": {**stage, "prior": str(tiny_if), "iterations": 6, "resolution": 16},
        "stage2": {
            **stage,
            "prior": str(tiny_sd),
            "iterations": 4,
            "target_reuse": 3,
            "targets_kept": 2,
            "resolution": 32,
            "density": {"start_count": 150},
        },
        "checkpoint": {"every_seconds": 0.001},
        "turntable": {"frames": 4, "resolution": 32, "preview_resolution": 32},
        "mesh": {
            "views": 8,
            "view_resolution": 32,
            "resolution": 16,
            "smoothing": 1,
            "texture_resolution": 64,
        },
        "evaluate": {"resolution": 32, "front_views": 8, "surface_samples": 100},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="session")
def prefect():
    """One server for the session."""
    from stabledreamer.runtime.server import prefect_server

    with prefect_server():
        yield


@pytest.fixture(scope="session")
def make(prefect, params):
    """Run the flow: make(out, prompt=..., overrides=[...], ...) -> the record."""

    def run(out: Path, prompt: str = PROMPT, seed: int = 0, **options):
        from flows.dream import dream

        with single_thread():
            return dream(prompt, seed, params=str(params), out=str(out), bars=False, **options)

    return run


@contextmanager
def single_thread():
    """A second thread only waits for the first in networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def one_thread():
    with single_thread():
        yield
