"""What the pages name exists: links, anchors, files, modules, commands. The README is short."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cyclopts import CycloptsError

from stabledreamer.cli.main import COMMANDS, app

ROOT = Path(__file__).parent.parent.parent
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted(ROOT.glob("docs/**/*.md"))]
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
OURS = (
    *("stabledreamer_core", "stabledreamer", "tasks", "flows", "toybox"),
    *("benchmarks", "tests", "examples"),
)
# Commands of which a part stands for something else.
PLACEHOLDERS = {
    "stabledreamer debug DIR [--stage 2]",
    "stabledreamer suite --batch 16 --runner ray",  # of any file
}
# Written in a table of command-line.md as the synopsis of a command.
SYNOPSES = re.compile(r"^\| `(\w+)(?: [A-Z]+)?`(?:, `(\w+)`)? \|", re.MULTILINE)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?:(?<=\n\n)|\A)(?: {4,}(?![-*\d|]).*\n+)+", "\n", text)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs both make them."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(page), flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {re.sub(r" +", "-", heading.strip()) for heading in plain}


def commands(page: Path) -> Iterator[str]:
    """Each `stabledreamer ...` of a page: lines of its blocks of code, spans of its prose."""
    text, words = page.read_text().replace("\\\n", " "), prose(page)
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", words)]
    for line in lines + spans:
        match = re.search(r"(?:^|[\s/])(stabledreamer [a-z-].*)$", line.strip())
        if match:
            yield match[1]


def is_module(name: str) -> bool:
    """Whether a module or package of ours has this name."""
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def subcommands() -> list[str]:
    """The names of all commands."""
    return [*COMMANDS, "stop"]


@every_page
def test_links_lead_somewhere(page):
    for href in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", href):
            continue
        path, _, anchor = href.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {href}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {href}"


@every_page
def test_files_of_ours_exist(page):
    for span in re.findall(r"(?<!`)`([^`\s]+\.(?:py|yaml|toml|sh))(?:::\w+)?`(?!`)", prose(page)):
        if "*" in span or "<" in span:
            continue
        if span.startswith(tuple(f"{name}/" for name in OURS)):
            assert (ROOT / span).is_file(), f"{page.name}: {span}"
        elif span.endswith(".py"):  # `loss.py` or `distillation/loss.py`: in some folder of ours
            found = any(
                path
                for name in OURS
                for path in (ROOT / name).rglob(Path(span).name)
                if path.as_posix().endswith(f"/{span}")
            )
            assert found, f"{page.name}: {span}"


@every_page
def test_modules_of_ours_exist(page):
    if page.name == "CHANGELOG.md":
        return  # names old ones on purpose; the next test reads it
    for module in re.findall(r"(?:-m |^::: )([\w.]+)", page.read_text(), flags=re.MULTILINE):
        if module.startswith(OURS):
            assert is_module(module), f"{page.name}: {module}"


def test_new_paths_in_the_changelog_exist():
    text = (ROOT / "CHANGELOG.md").read_text()
    rows = re.findall(r"^\| `.*\| (.+) \|$", text, flags=re.MULTILINE)
    new = [name for row in rows for name in re.findall(r"`(\w+[\w.]*?)(?:\.\*)?`", row)]
    assert len(new) > 20
    for module in new:
        if module.startswith(OURS):
            assert is_module(module), module


def test_names_in_the_method_exist():
    text = (ROOT / "docs/method.md").read_text()
    rows = re.findall(r"^\| .+? \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)[2:]
    assert len(rows) >= 7
    for files, names in rows:
        folder, defined = ROOT / "stabledreamer_core", set()
        for name in re.findall(r"`([^`]+)`", files):
            path = next(
                path
                for path in (ROOT / name, folder / name, ROOT / "stabledreamer_core" / name)
                if path.exists()
            )
            folder = path.parent if path.is_file() else folder
            for source in [path] if path.is_file() else path.rglob("*.py"):
                tree = ast.parse(source.read_text())
                defined |= {node.name for node in ast.walk(tree) if hasattr(node, "name")}
        for name in re.findall(r"`([A-Za-z_.]+)`", names):
            if not name.endswith(".py"):
                assert set(name.split(".")) <= defined, f"{files}: {name}"


@every_page
def test_commands_parse(page):
    for command in commands(page):
        words = shlex.split(command, comments=True)[1:]
        if command in PLACEHOLDERS or words in [[name] for name in subcommands()]:
            continue
        try:
            app.parse_args(words, print_error=False, exit_on_error=False)
        except CycloptsError as error:
            raise AssertionError(f"{page.name}: {command}: {error}") from None


def test_commands_are_found():
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 20
    assert 'stabledreamer dream "a blue robot wearing a purple scarf" --quick' in found


def test_every_command_is_documented():
    text = (ROOT / "docs/command-line.md").read_text()
    documented = {name for pair in SYNOPSES.findall(text) for name in pair if name}
    assert documented >= set(subcommands())


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130
    figures = lines[lines.index("## Figures") :]
    rows = [
        line for line in figures[: figures.index("## Where to go next")] if line.startswith("|")
    ]
    assert len(rows) - 2 <= 8


def test_nav_has_every_page():
    text = (ROOT / "mkdocs.yml").read_text()
    nav = re.findall(r"([\w/-]+\.md)$", text[text.index("\nnav:") :], flags=re.MULTILINE)
    docs = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    assert set(nav) == docs | {"index.md", "contributing.md", "changelog.md"}
    assert len(nav) == len(set(nav))


def test_python_on_the_tutorial_runs():
    text = (ROOT / "docs/notebook.md").read_text()
    (program,) = re.findall(r"^``` python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert 0.0 < float(re.findall(r"[\d.]+(?:e-\d+)?", done.stdout)[-1]) < 1.0


def test_citation_names_the_paper_and_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert "2312.02189" in citation["preferred-citation"]["url"]
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{citation["version"]}"' in project
