"""Which of our own files a module can reach through its imports, so what its results rest on.

Imports inside functions count; those for type checkers alone do not. The packages are found as
Python finds them, so it is the same in a checkout and where a wheel was installed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import grimp

METHOD = ("stabledreamer_core", "toybox")
CODE = (".py", ".pyi")


@cache
def reached(*roots: str, packages: tuple[str, ...] = METHOD) -> Mapping[str, Path]:
    """The files of the roots and of all that they import, directly or not.

    With them come the `__init__.py` of the packages they lie in, which Python runs first, and the
    data files they name. What an `__init__.py` imports counts only where that package itself is
    imported: else one that gathers a public API would make everything reach everything.

    Args:
        roots: modules, such as "toybox.metrics.evaluate".
        packages: only their modules are followed and returned.

    Returns:
        Paths by name, such as "toybox/metrics/evaluate.py", sorted.
    """
    graph = import_graph(packages)
    modules = set(roots).union(*(graph.find_upstream_modules(root) for root in roots))
    for module in list(modules):
        parts = module.split(".")
        modules |= {".".join(parts[:length]) for length in range(1, len(parts))}
    files = [file for module in modules if (file := file_of(module)).is_file()]
    return _by_name([*files, *_data_files(files)], packages)


@cache
def code_hash(*roots: str) -> str:
    """Hex sha256 of the names and contents of all that the roots reach."""
    return _hash(reached(*roots))


@cache
def package_hash(package: str) -> str:
    """Hex sha256 of the names and contents of all Python and YAML files of a package."""
    files = [path for path in _folder(package).rglob("*") if path.suffix in (".py", ".yaml")]
    return _hash(_by_name(files, (package,)))


@cache
def import_graph(packages: tuple[str, ...]) -> grimp.ImportGraph:
    """Which of the packages' modules imports which; takes about 10 ms, so it is not kept."""
    return grimp.build_graph(
        packages[0], *packages[1:], exclude_type_checking_imports=True, cache_dir=None
    )


def file_of(module: str) -> Path:
    """Where a module's code lies, or would if it had any."""
    package, *parts = module.split(".")
    path = _folder(package).joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package {package}")
    return Path(next(iter(spec.submodule_search_locations)))


def _data_files(files: Iterable[Path]) -> list[Path]:
    """Data files of `METHOD` that a module in the same folder, or above it, names."""
    data = [path for package in METHOD for path in _data_below(package)]
    texts = {file: file.read_text(encoding="utf-8") for file in files} if data else {}
    return [
        path
        for path in data
        if any(path.name in text and file.parent in path.parents for file, text in texts.items())
    ]


@cache
def _data_below(package: str) -> list[Path]:
    """Its files that are no code, nor stubs, nor what Python and numba keep of their own."""
    paths = _folder(package).rglob("*.*")
    return [
        path
        for path in paths
        if path.suffix not in CODE and "__pycache__" not in path.parts and path.is_file()
    ]


def _by_name(files: Iterable[Path], packages: tuple[str, ...]) -> dict[str, Path]:
    parents = {_folder(package).parent for package in packages}
    named = {
        path.relative_to(parent).as_posix(): path
        for path in files
        for parent in parents
        if path.is_relative_to(parent)
    }
    return dict(sorted(named.items()))


def _hash(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in files.items():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()
