"""A suite's file of prompts, and the rule by which prompts/toybox.yaml was made.

python -m flows.prompts_file > prompts/toybox.yaml
"""

from pathlib import Path

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole
from stabledreamer_core.yaml_text import parse_yaml

HEADER = """\
# The benchmark: 40 prompts whose combination of category, colour and accessory no Toybox prior saw
# in training (toybox/heldout.yaml), none chosen by hand. One of every category in the catalogue's
# order, a top hat the plain black one, any other accessory in the colour that follows the toy's own
# in the catalogue; then all again with the fourth colour after it; then the first four with the
# seventh. Made by: python -m flows.prompts_file > prompts/toybox.yaml
"""
COUNT = 40
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
    """`COUNT` held-out prompts by the rule in `HEADER`; the first 18 are one of every category."""
    from toybox.captions import DEFAULT_COLOURS, caption
    from toybox.catalogue import COLOURS, Toy
    from toybox.heldout import heldout_combinations

    colours, prompts = list(COLOURS), []
    for steps in (1, 4, 7):
        for category, colour, accessory in heldout_combinations():
            later = colours[(colours.index(colour) + steps) % len(colours)]
            plain = DEFAULT_COLOURS.get(accessory, later)
            accessory_colour = plain if steps == 1 else later
            prompts.append(caption(Toy(category, colour, accessory, accessory_colour)))
    return prompts[:COUNT]


def toybox_yaml() -> str:
    """The text of prompts/toybox.yaml."""
    return HEADER + "prompts:\n" + "".join(f"  - {prompt}\n" for prompt in toybox_prompts())


if __name__ == "__main__":
    print(toybox_yaml(), end="")
