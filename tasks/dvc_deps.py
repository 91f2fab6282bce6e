"""The code that the stages of our DVC pipelines depend on, from the import graph.

    python -m tasks.dvc_deps    # writes it into every dvc.yaml

tests/benchmark/test_pipeline.py fails while they differ.
"""

import ast
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

import yaml

from stabledreamer.runtime.root import ROOT
from tasks.code_reach import CODE, METHOD, file_of, import_graph, reached

# `tasks` is left out: the benchmarks ask it under which name or key a result is kept, and their
# figures do not rest on that.
PACKAGES = ("benchmarks", "flows", "stabledreamer", *METHOD)
ROOTS: dict[str, dict[str, tuple[str, ...]]] = {  # "module", or "module:function" of several
    "dvc.yaml": {
        "stage1": ("benchmarks.claims.small_asset:stage",),
        "stage2": ("benchmarks.claims.small_asset:stage",),
        "evaluate": ("benchmarks.claims.small_asset:evaluate",),
        "summary": ("benchmarks.claims.tables",),
    },
    "benchmarks/gpu/dvc.yaml": {
        "make": ("benchmarks.search.make_assets",),
        "make_peer": ("benchmarks.search.make_assets",),
        "measure": ("benchmarks.claims.suite_table",),
        "make_nerf": ("benchmarks.claims.nerf_baseline",),
        "measure_nerf": ("benchmarks.claims.nerf_measure",),
        "summary": ("benchmarks.claims.tables",),
    },
    "benchmarks/experiments/dvc.yaml": {
        "strong_prior": ("benchmarks.claims.biased_weights",),
        "make": ("benchmarks.search.make_assets",),
        "make_stage2": ("benchmarks.search.make_assets",),
        "faces": ("benchmarks.claims.faces",),
        "methods": ("benchmarks.claims.suite_table", "benchmarks.claims.methods_table"),
        "methods_page": ("benchmarks.claims.methods_table",),
    },
}


def main() -> None:
    """Write the pipelines anew."""
    for pipeline in ROOTS:
        text = with_code_deps(pipeline)
        (ROOT / pipeline).write_text(text, encoding="utf-8")


def code_deps(pipeline: str, stage: str) -> list[str]:
    """What a stage's commands reach, relative to the repository: files, and folders where all is.

    Args:
        pipeline: such as "dvc.yaml".
    """
    names: set[str] = set()
    for root in ROOTS[pipeline][stage]:
        module, _, function = root.partition(":")
        modules = imported_by(module, function) if function else {module}
        names |= {*reached(*sorted(modules), packages=PACKAGES), _name(module)}
    return _folded(names)


def is_code(dep: str) -> bool:
    """Whether a stage's dependency is one that `code_deps` answers for."""
    path = PurePosixPath(dep)
    return path.parts[0] in METHOD or (path.parts[0] in PACKAGES and path.suffix in ("", *CODE))


def imported_by(module: str, function: str) -> set[str]:
    """What one function of a module imports, with what it calls there and the module's top level.

    So the functions of a module may have imports of their own, and a stage those of one function.
    """
    body = ast.parse(file_of(module).read_text(encoding="utf-8")).body
    functions = {part.name: part for part in body if isinstance(part, ast.FunctionDef)}
    used, unseen = set(), [function]
    while unseen:
        name = unseen.pop()
        if name in functions and name not in used:
            used.add(name)
            unseen += [part.id for part in ast.walk(functions[name]) if isinstance(part, ast.Name)]
    unused = [
        range(part.lineno, (part.end_lineno or part.lineno) + 1)
        for name, part in functions.items()
        if name not in used
    ]
    graph = import_graph(PACKAGES)
    return {
        imported
        for imported in graph.find_modules_directly_imported_by(module)
        for detail in graph.get_import_details(importer=module, imported=imported)
        if not any(detail["line_number"] in lines for lines in unused)
    }


def with_code_deps(pipeline: str) -> str:
    """The pipeline's text with the right code, and all else as it was."""
    text = (ROOT / pipeline).read_text(encoding="utf-8")
    stages = iter(yaml.safe_load(text)["stages"])  # in the order of their deps

    def right(block: re.Match[str]) -> str:
        indent, lines = block[1], block[2].splitlines()
        others = [dep for line in lines if not is_code(dep := line.split("- ", 1)[1])]
        items = [f"{indent}  - {dep}\n" for dep in (*code_deps(pipeline, next(stages)), *others)]
        return f"{indent}deps:\n" + "".join(items)

    return re.sub(r"^( *)deps:\n((?:\1  - .*\n)+)", right, text, flags=re.MULTILINE)


def _name(module: str) -> str:
    return file_of(module).relative_to(ROOT).as_posix()


def _folded(names: Iterable[str]) -> list[str]:
    """The names, with a folder instead of its files where it holds no others."""
    names = set(names)
    folders = {folder for name in names for folder in PurePosixPath(name).parents}
    for folder in sorted(folders - {PurePosixPath(".")}):  # the outer ones first
        inside = {name for name in names if folder in PurePosixPath(name).parents}
        if inside and inside == _files_below(folder):
            names = names - inside | {folder.as_posix()}
    return sorted(names)


def _files_below(folder: PurePosixPath) -> set[str]:
    """Its files as DVC sees them (.dvcignore)."""
    paths = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts}


if __name__ == "__main__":
    main()
