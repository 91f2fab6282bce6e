"""A suite's file of prompts, and the rule by which prompts/toybox.yaml was made.

python -m flows.prompts_file > prompts/toybox.yaml
"""

from pathlib import Path
from typing import Literal

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole
from stabledreamer_core.settings.yaml_text import parse_yaml

HEADER = """\
# The benchmark: 40 prompts whose combination of category, colour and accessory no Toybox prior saw
# in training and no setting was searched on (toybox/heldout.yaml, part test), none chosen by hand.
# One of each of the twelve combinations in the catalogue's order, the accessory in the fourth
# colour after the toy's own in the catalogue; then all again with the seventh; with the second; and
# the first four with the fifth. Made by: python -m flows.prompts_file > prompts/toybox.yaml
"""
COUNT = 40
STEPS = (4, 7, 2, 5)  # not 1, whose prompts a search had scored before the parts were split
MOST_BYTES = 10 * 2**20


def read_prompts(path: Path) -> tuple[list[str], list[int]]:
    """Prompts and seeds of a YAML file: a list, or `prompts:` and `seeds:` (default [0]).

    Raises:
        UserError: it is missing, or not of that form.
    """
    try:
        content = parse_yaml(read_whole(path, MOST_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise UserError(f"prompts file {path} does not exist") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read prompts file {path}: {error}") from None
    if isinstance(content, list):
        content = {"prompts": content}
    if not isinstance(content, dict) or set(content) - {"prompts", "seeds"}:
        raise UserError(
            f"prompts file {path} must be a list, or have `prompts:` and `seeds:` alone"
        )
    prompts, seeds = content.get("prompts"), content.get("seeds", [0])
    if not isinstance(prompts, list) or not prompts:
        raise UserError(f"prompts file {path} holds no prompts")
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise UserError(f"prompts file {path}: every prompt must be text")
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise UserError(f"prompts file {path}: seeds must be a list of whole numbers")
    return prompts, seeds


def toybox_prompts() -> list[str]:
    """`COUNT` held-out prompts by the rule in `HEADER`; the first twelve are one of each."""
    return heldout_prompts("test", STEPS)[:COUNT]


def heldout_prompts(part: Literal["tune", "test"], steps: tuple[int, ...]) -> list[str]:
    """All combinations of a part, with accessories so many colours after the toy's own."""
    from toybox.captions import caption
    from toybox.catalogue import COLOURS, Toy
    from toybox.heldout import heldout_combinations

    colours = list(COLOURS)
    return [
        caption(Toy(category, colour, accessory, later))
        for step in steps
        for category, colour, accessory in heldout_combinations(part)
        for later in (colours[(colours.index(colour) + step) % len(colours)],)
    ]


def toybox_yaml() -> str:
    """The text of prompts/toybox.yaml."""
    return HEADER + "prompts:\n" + "".join(f"  - {prompt}\n" for prompt in toybox_prompts())


if __name__ == "__main__":
    print(toybox_yaml(), end="")
