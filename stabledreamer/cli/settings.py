"""stabledreamer settings: what can be set, within what range, and what it does."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cyclopts import App

from stabledreamer.cli.options import RunOptions
from stabledreamer_core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from stabledreamer_core.settings.config import Config

EXAMPLES = """\
examples:
  stabledreamer settings                    # the sections
  stabledreamer settings mesh               # everything about the mesh
  stabledreamer settings stage1.density
  stabledreamer settings texture            # every setting that speaks of it
  stabledreamer settings stage1 --preset open
  stabledreamer dream "a blue car" --set mesh.material=unlit
"""
WIDTH = 80

app = App(name="settings", help_epilogue=EXAMPLES)


@app.default
def settings(about: str | None = None, /, *, options: RunOptions | None = None) -> int:
    """List the settings: value, range and what each does.

    Set one with --set mesh.height=0.3, or many in a file given with --params.

    Args:
        about: a section, a setting, or a word to look for; default: the sections.
    """
    options = options or RunOptions()
    from stabledreamer.runtime.settings import load_config

    config = load_config(options.params, list(options.settings), options.quick, options.preset)
    print("\n".join(_sections(config) if about is None else _found(config, about)))
    return 0


def _sections(config: Config) -> Iterator[str]:
    """What each section and each single setting is about."""
    for name, field in type(config).model_fields.items():
        said = field.description or (type(getattr(config, name)).__doc__ or "").split("\n")[0]
        yield from _wrapped(f"{name:12s}", said)
    yield "\nmore of one: stabledreamer settings mesh; of any word: stabledreamer settings texture"


def _found(config: Config, about: str) -> Iterator[str]:
    """Those of a section, of a key, or with a word in their name or text."""
    from stabledreamer_core.settings.config import Config
    from stabledreamer_core.settings.describe import describe
    from stabledreamer_core.settings.params_file import flow

    every, default = list(describe(config)), {one.key: one.value for one in describe(Config())}
    word = about.strip().lower()
    shown = [one for one in every if f"{one.key}.".startswith(f"{word}.")]
    shown = shown or [one for one in every if word and word in f"{one.key} {one.about}".lower()]
    if not shown:
        parts = [part for one in every for part in (one.key, *one.key.split("."))]
        raise UserError(
            f"no setting is called {about[:80]!r}{did_you_mean(word, parts)};"
            " `stabledreamer settings` lists the sections"
        )
    for one in shown:
        was = "" if one.value == default[one.key] else f"; default {flow(default[one.key])}"
        yield f"{one.key} = {flow(one.value)}   ({one.allowed}{was})"
        yield from _wrapped("   ", one.about)


def _wrapped(label: str, text: str) -> list[str]:
    """Lines of the terminal's width, at most 100, with what follows set in."""
    columns = min(shutil.get_terminal_size((WIDTH, 24)).columns, 100)
    indent = " " * (len(label) + 1)
    return textwrap.wrap(
        " ".join(text.split()), columns, initial_indent=f"{label} ", subsequent_indent=indent
    )
