"""Describe settings for people: each key with its value, its range and its docstring.

All of it is read from the typed models, so a new setting is described without a line here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from stabledreamer_core.errors import did_you_mean


@dataclass(frozen=True)
class Described:
    """One setting."""

    key: str  # dotted, as for --set
    value: Any
    allowed: str  # in words: "8 to 512", "true or false", "none, linear or sqrt"
    about: str  # one line


def describe(section: BaseModel, prefix: str = "") -> Iterator[Described]:
    """Yield every single setting of a section and of those in it, in order."""
    schemas = type(section).model_json_schema()["properties"]
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from describe(value, f"{prefix}{name}.")
        else:
            about = " ".join((field.description or "").split())
            yield Described(f"{prefix}{name}", value, _allowed(schemas[name]), about)


def setting_meant(root: type[BaseModel], key: str, value: object) -> str:
    """A hint, " (did you mean ...?)" or "", at the setting that an unknown key is near to.

    Args:
        value: what was given for it; the section of a key within an unknown section.
    """
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        key = f"{key}.{name}"
    known = [one.key for one in describe(root())]
    ends = {one.rpartition(".")[2]: one for one in reversed(known)}
    near = get_close_matches(key.rpartition(".")[2].lower(), ends, 1)
    by_end = f" (did you mean {ends[near[0]]}?)" if near else ""
    return did_you_mean(key, known, 0.75) or by_end


def _allowed(schema: dict[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    kind = schema.get("type")
    if "anyOf" in schema:
        return " or ".join(_allowed(one) for one in schema["anyOf"])
    if "enum" in schema:
        *most, last = map(str, schema["enum"])
        return f"{', '.join(most)} or {last}" if most else last
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        each = schema.get("prefixItems")
        return f"[{', '.join(map(_allowed, each))}]" if each else f"a list: {_items(schema)}"
    if kind in ("integer", "number"):
        return _numbers(schema)
    return {"null": "null", "string": "text"}.get(str(kind), str(kind or "a section"))


def _items(schema: dict[str, Any]) -> str:
    return f"{_allowed(schema.get('items', {}))}, ..."


def _numbers(schema: dict[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    step = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
    if low is not None and high is not None:
        return f"{low:.10g} to {high:.10g}{step}"
    words = {"at least": low, "above": above, "at most": high, "below": below}
    bounds = [f"{word} {end:.10g}" for word, end in words.items() if end is not None]
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    return (" and ".join(bounds) or kind) + step
