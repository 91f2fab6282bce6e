"""From toys to words and back.

A caption is the grammar's one sentence for a toy; `parse` also understands looser phrases, and
says which words it does not know.
"""

import re
from dataclasses import dataclass

from stabledreamer_core.distillation.view_prompts import VOCABULARIES
from toybox.catalogue import ACCESSORIES, ACCESSORY_COLOURS, CATEGORIES, Toy, in_catalogue

STOP_WORDS = frozenset("a an the and with of in on wearing standing is that it its".split())
SYNONYMS = {"rabbit": "bunny", "tophat": "top hat", "hat": "top hat", "block": "cube"}
VIEW_WORDS = frozenset(" ".join(VOCABULARIES["eight"]).split())
DEFAULT_COLOURS = {"top hat": "black"}
_ACCESSORY_KEYS = ("accessory", "accessory colour")


@dataclass(frozen=True)
class Parsed:
    """What a prompt says.

    Attributes:
        toy: the catalogue's toy, or None where the prompt does not name exactly one.
        category, colour, accessory, accessory_colour: what was understood of it, each or None.
        known: words that were understood, in order.
        unknown: words that are not in the vocabulary, in order.
        ignored: known words without a place in the toy, such as a second object's.
    """

    toy: Toy | None
    category: str | None
    colour: str | None
    accessory: str | None
    accessory_colour: str | None
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    ignored: tuple[str, ...]


def caption(toy: Toy) -> str:
    """For example "a red bear wearing a blue top hat"; a black top hat is plainly "a top hat"."""
    text = f"{_article(toy.colour)} {toy.colour} {toy.category}"
    if toy.accessory is None:
        return text
    joint = "on" if toy.accessory == "cube" else "wearing"
    if toy.accessory_colour == DEFAULT_COLOURS.get(toy.accessory):
        return f"{text} {joint} a {toy.accessory}"
    assert toy.accessory_colour is not None
    article = _article(toy.accessory_colour)
    return f"{text} {joint} {article} {toy.accessory_colour} {toy.accessory}"


def parse(prompt: str) -> Parsed:
    """Read a prompt; never fails.

    A colour belongs to the next object or accessory after it. A colour left over is the toy's
    if it has none ("a bear that is red"). Only the first object and accessory count.
    """
    known: list[str] = []
    unknown: list[str] = []
    ignored: list[str] = []
    found: dict[str, str] = {}
    pending: str | None = None

    def settle(colour: str | None) -> None:
        if colour is None:
            return
        if "category" in found and "colour" not in found:
            found["colour"] = colour
        else:
            ignored.append(colour)

    for word in (SYNONYMS.get(word, word) for word in _words(prompt)):
        if word in STOP_WORDS:
            continue
        if word in VIEW_WORDS:
            known.append(word)
        elif word in ACCESSORY_COLOURS:
            known.append(word)
            settle(pending)
            pending = word
        elif word in CATEGORIES or word in ACCESSORIES:
            known.append(word)
            kind, key = ("category", "colour") if word in CATEGORIES else _ACCESSORY_KEYS
            if kind in found:
                ignored.extend([pending, word] if pending else [word])
            else:
                found[kind] = word
                if pending is not None:
                    found[key] = pending
            pending = None
        else:
            unknown.append(word)
    settle(pending)

    category, colour = found.get("category"), found.get("colour")
    accessory, accessory_colour = found.get("accessory"), found.get("accessory colour")
    if accessory is not None and accessory_colour is None:
        accessory_colour = DEFAULT_COLOURS.get(accessory)
    toy = Toy(category, colour, accessory, accessory_colour) if category and colour else None
    return Parsed(
        toy if toy is not None and in_catalogue(toy) else None,
        category,
        colour,
        accessory,
        accessory_colour,
        tuple(known),
        tuple(unknown),
        tuple(ignored),
    )


def vocabulary() -> dict[str, tuple[str, ...]]:
    """Every word `parse` understands, by kind: categories, colours, accessories, views."""
    return {
        "categories": tuple(CATEGORIES),
        "colours": tuple(ACCESSORY_COLOURS),
        "accessories": ACCESSORIES,
        "views": VOCABULARIES["eight"],
    }


def words_alone() -> tuple[str, ...]:
    """Every single word that names an object, a colour or an accessory: "top hat" is two."""
    things = (*CATEGORIES, *ACCESSORY_COLOURS, *ACCESSORIES, *SYNONYMS)
    return tuple(dict.fromkeys(word for thing in things for word in thing.split()))


def _words(prompt: str) -> list[str]:
    """Lower-case words, "top hat" kept together."""
    text = re.sub(r"\btop[\s-]+hat\b", "tophat", prompt.lower())
    return re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+", text)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
