"""A suite's file of prompts."""

from pathlib import Path

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole
from stabledreamer_core.settings.yaml_text import parse_yaml

MAX_BYTES = 10 * 2**20


def read_prompts(path: Path) -> tuple[list[str], list[int]]:
    """Prompts and seeds of a YAML file: a list, or `prompts:` and `seeds:` (default [0]).

    Raises:
        UserError: it is missing, or not of that form.
    """
    try:
        content = parse_yaml(read_whole(path, MAX_BYTES).decode("utf-8"))
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
