"""Make params.yaml from the typed settings: every default, with its docstring for a comment.

python -m stabledreamer_core.settings.params_file > params.yaml
"""

import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from stabledreamer_core.settings.config import Config

HEADER = """\
# Every setting of StableDreamer with its default, one section a stage. A file given with --params
# is laid over this one, so it need name only what differs; --set stage1.iterations=300 goes on top
# of that. Units: angles in degrees, lengths in world units (the object lies in the unit ball),
# noise levels as fractions of the prior's schedule (0 no noise, 1 pure noise), colours in [0, 1];
# pairs are [low, high], or [start, end] of the stage.
# Made from stabledreamer_core/settings: python -m stabledreamer_core.settings.params_file
"""
WIDTH, COLUMN = 100, 32


def params_yaml() -> str:
    """Return the text of params.yaml."""
    seen: set[tuple[type, str]] = set()
    return HEADER + "".join(_section(Config(), "", seen))


def _section(section: BaseModel, indent: str, seen: set[tuple[type, str]]) -> Iterator[str]:
    """Lines of a section; a comment stands where its field comes first."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        about = "" if (type(section), name) in seen else (field.description or "")
        seen.add((type(section), name))
        if isinstance(value, BaseModel):
            about = about or (type(value).__doc__ or "").split("\n")[0]
            yield ("\n" if not indent else "") + _line(f"{indent}{name}:", about)
            yield from _section(value, indent + "  ", seen)
        else:
            yield _line(f"{indent}{name}: {flow(value)}", about)


def _line(text: str, comment: str) -> str:
    comment = " ".join(comment.split()).removesuffix(".")
    if not comment:
        return f"{text}\n"
    beside = f"{text:{COLUMN - 1}s} # {comment}"
    if len(beside) <= WIDTH:
        return f"{beside}\n"
    indent = " " * (len(text) - len(text.lstrip()))
    above = textwrap.wrap(comment, WIDTH - len(indent) - 2)
    return "".join(f"{indent}# {part}\n" for part in above) + f"{text}\n"


def flow(value: Any) -> str:
    """Write a value in YAML's flow style."""
    if isinstance(value, tuple):
        return f"[{', '.join(flow(one) for one in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and "e" in repr(value) and "." not in repr(value):
        return repr(value).replace("e", ".0e")  # YAML 1.1 reads 5e-05 as text
    return str(value)


if __name__ == "__main__":
    print(params_yaml(), end="")
