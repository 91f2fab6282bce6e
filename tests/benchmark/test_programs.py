"""Every module of the benchmarks imports: what the others move, these programs follow."""

import importlib

import pytest

from stabledreamer.runtime.root import ROOT

FILES = sorted(path.relative_to(ROOT) for path in ROOT.glob("benchmarks/*/*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}.{file.stem}")
def test_it_imports(file):
    importlib.import_module(".".join(file.with_suffix("").parts))
