"""The raw material of hostile inputs: odd values, odd texts, damaged bytes, pickles that run code.

Everything is drawn from a `random.Random`, so an input is known by its seed.
"""

import json
import pickle
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)
YAML_SCALARS = (
    *("!!python/object/apply:os.system ['touch escaped']", "!!python/name:os.system"),
    *("!!python/object/new:os.popen ['touch escaped']", "!!python/module:os", "!unknown x"),
    *("!!bool maybe", "!!int x", "!!float x", "!!timestamp x", "!!null x", "!!binary '%'"),
    *("!!binary aGVsbG8=", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!map x"),
    *("2001-99-99", "2001-01-01", "2001-01-01T25:61:61Z", "0b_", "0x_", "1:99", "9" * 5000),
    *(".nan", ".inf", "-.inf", "1e999", "-1", "0", "1e308", "99999999999999999999", "-0.0"),
    *("null", "~", "yes", "''", "' '", "[]", "{}", "[1, 2]", "[[1]]", "{a: {b: 1}}", "*gone"),
    *("&x [*x]", "&x {a: *x}", "{<<: 1}", "{<<: [1]}", "{? [1] : 2}", "{? {a: 1} : 2}", "? x"),
    *('"\\0"', '"\\ud800"', '"\\u202e"', '"a\\nb"', "|\n  x", "'../../x'", "/etc/passwd"),
    *("~nobody/x", "/dev/zero", "'" + "a" * 5000 + "'", "a/" * 2000, "[" * 3000, "{a: " * 800),
    *("- " * 2000, "%YAML 9.9", "--- 1\n--- 2", "\t", "@", "`", "#", "x: y: z", "[1, 2", "'"),
)
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**12, 10**400, 1.5, 1e308),
    *(float("nan"), float("inf"), "", "x", "\0", "../../x", "/etc/passwd", "é" * 2000, "\ud800"),
    *([], {}, [0], [-1], [[]], [None], ["x"], [10**9], [64] * 2000, {"x": {}}, {"": 0}),
)
WORDS = (
    "bear",
    "a red bear",
    "bär",
    "熊",
    "🐻",
    "a bear wearing a top hat",
    "blue",
    "of",
    "--help",
)
ODD = ("\0", "\n", "\r", "\t", "/", "../", "\\", "..", "~", "\u202e", "\u200b", "\ud800", "\x1b[2J")
ODD += ("%s", "{0}", "$(touch escaped)", "`touch escaped`", ";", "'", '"', "|", "*", "\ufffd", "é")


class _Runs:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        import os

        return os.system, ("touch escaped",)


def pickled() -> bytes:
    """A pickle that runs a command when it is opened."""
    return pickle.dumps({"weight": _Runs()})


def text(rng: random.Random) -> str:
    """A prompt-like text: words and odd characters; sometimes 100 kB of them."""
    parts = rng.choices(WORDS + ODD, k=rng.choice((0, 1, 2, 3, 5, 8, 20)))
    joined = rng.choice(("", " ", "/")).join(parts)
    return joined * (100_000 // max(1, len(joined))) if rng.random() < 0.05 else joined


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes cut, doubled, flipped, zeroed or grown at random places."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at, width = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(6)
        if kind == 0:
            del out[at:]
        elif kind == 1 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at : at + width] = bytes(min(width, max(0, len(out) - at)))
        elif kind == 3:
            out[at:at] = rng.randbytes(width)
        elif kind == 4:
            del out[at : at + width]
        else:
            out[at : at + width] = b"\xff" * width
    return bytes(out)


def paths_of(tree: Any) -> list[tuple[Any, ...]]:
    """The places of all values in a JSON-like tree."""
    found: list[tuple[Any, ...]] = []
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in steps:
        found.append((key,))
        if isinstance(value, dict | list):
            found += [(key, *rest) for rest in paths_of(value)]
    return found


def altered(rng: random.Random, tree: Any, values: tuple[Any, ...] = JSON_VALUES) -> Any:
    """A copy of a JSON tree with one to three values replaced, removed or made a neighbour's."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = paths_of(tree)
        if not places:
            break
        *parents, last = rng.choice(places)
        holder = tree
        for key in parents:
            holder = holder[key]
        if rng.random() < 0.15:
            del holder[last]
        else:
            old = holder[last]
            scaled = isinstance(old, int) and not isinstance(old, bool) and rng.random() < 0.4
            holder[last] = (
                old * rng.choice((-1, 2, 3, 1000, 10**6))
                if scaled
                else deepcopy(rng.choice(values))
            )
    return tree


def as_json(rng: random.Random, tree: Any) -> bytes:
    """A JSON text of an altered tree; at times a damaged or a bottomless one."""
    kind = rng.random()
    if kind < 0.03:
        return b"[" * 200_000
    if kind < 0.06:
        return b'{"a":' * 100_000
    if kind < 0.1:
        return rng.choice((b"", b"null", b"[]", b"3", b'"x"', b"\xff\xfe", b"\0" * 100, b"{}"))
    if kind < 0.2:
        return damaged(rng, json.dumps(tree).encode())
    return json.dumps(altered(rng, tree)).encode()
