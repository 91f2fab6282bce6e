"""Parse YAML of text, numbers, lists and mappings alone.

PyYAML's safe loader makes no objects, but it reads aliases (nine lines of them can stand for 10^9
values), dates, bytes and sets, fails on some scalars with any of Python's errors, and has no limit
to its depth.
"""

import math
from typing import Any

import yaml

MAX_DEPTH = 20  # levels; params.yaml has five
MAX_INT = 2**64
CONTROL = frozenset(chr(code) for code in range(32)) - frozenset("\n\t\r")


def parse_yaml(text: str) -> Any:
    """Parse a YAML text.

    Raises:
        ValueError: one line: it is no YAML, or holds what no setting is made of.
    """
    try:
        value = yaml.load(text, Loader=_PlainLoader)
    except Exception as error:  # besides YAMLError, whatever a constructor makes of a scalar
        raise ValueError(f"no valid YAML ({_short(error)})") from None
    _check(value)
    return value


class _PlainLoader(yaml.SafeLoader):
    """A SafeLoader without aliases and with a limit to its depth."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(problem="aliases are not read", problem_mark=mark)
        if self.depth >= MAX_DEPTH:
            problem = f"it is nested more than {MAX_DEPTH} levels deep"
            raise yaml.composer.ComposerError(problem=problem, problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _check(value: Any) -> None:
    """Raise a ValueError for what JSON could not hold either."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the name {_short(key)} is not text")
            _check(key)
            _check(item)
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, str):
        if CONTROL & set(value) or any(0xD800 <= ord(letter) < 0xE000 for letter in value):
            raise ValueError(f"the text {_short(repr(value))} holds control characters")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    elif isinstance(value, int) and not -MAX_INT < value < MAX_INT:
        raise ValueError("a number has more than 19 digits")
    elif not isinstance(value, int | float | None):
        raise ValueError(f"{_short(value)} is neither text nor a number; put it in quotes")


def _short(value: object) -> str:
    line = " ".join(str(value).split()).encode("utf-8", "replace").decode()
    return line if len(line) <= 200 else f"{line[:200]}..."
