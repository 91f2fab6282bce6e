"""What of the site lies outside docs/: README.md is its index, and linked files come along.

A link from a page to a file of the repository leads to a copy of that file on the site, so that
`mkdocs build --strict` checks it like any other link.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
COPIES = "repository"  # where copies of linked files go
# File of the repository -> page of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and every file that a page links to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        text = Path(page.abs_src_path or "").read_text(encoding="utf-8")
        targets = {_target(page.src_uri, href) for href, _ in LINK.findall(text)}
        for target in sorted(targets):
            if _is_copied(target) and files.get_file_from_path(_copy(target)) is None:
                copy = File.generated(config, _copy(target), abs_src_path=str(ROOT / target))
                copy.inclusion = InclusionLevel.NOT_IN_NAV
                files.append(copy)
                waiting += [copy] if copy.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the site's own pages and copies."""
    here = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        target = _target(here, match[1])
        if target in PAGES:
            uri = PAGES[target]
        elif target.startswith("docs/"):
            uri = target.removeprefix("docs/")
        elif _is_copied(target):
            uri = _copy(target)
        else:
            return match[0]
        return posixpath.relpath(uri, posixpath.dirname(here) or ".") + (match[2] or "")

    return LINK.sub(rewritten, markdown)


def _target(page: str, href: str) -> str:
    """What a link of a page names, relative to the repository."""
    sources = {site: source for source, site in PAGES.items()}
    if page.startswith(f"{COPIES}/"):
        source = page.removeprefix(f"{COPIES}/")
    else:
        source = sources.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), href))


def _is_copied(target: str) -> bool:
    return (
        not target.startswith(("docs/", "..")) and target not in PAGES and (ROOT / target).is_file()
    )


def _copy(target: str) -> str:
    """Where on the site a file goes; code is shown as text."""
    return f"{COPIES}/{target}" + (".txt" if target.endswith((".py", ".cff", ".ipynb")) else "")
