"""Tiny pipelines of every family, with random weights."""

from pathlib import Path
from typing import Any

import pytest

from tests import tiny_families


@pytest.fixture(scope="module", params=tiny_families.BUILDERS)
def pair(request, tmp_path_factory) -> tuple[Any, Path]:
    """A pipeline, and the folder that it was saved to."""
    folder = tmp_path_factory.mktemp("families") / request.param
    return tiny_families.save(request.param, folder), folder
