"""What is fed with hostile inputs: everything that StableDreamer reads and a stranger may write.

A target makes one input in an empty folder and returns the call that reads it, as a command would.
"""

import contextlib
import io
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.robustness.fuzz_folders import asset, checkpoint, glb, ply, prior, state
from benchmarks.robustness.fuzz_values import (
    BOMB,
    ODD,
    WORDS,
    YAML_SCALARS,
    damaged,
    paths_of,
    text,
)
from flows.prompts_file import read_prompts
from stabledreamer.runtime.root import PARAMS
from stabledreamer.runtime.settings import load_config
from tasks.asset_folder import default_folder, lock_asset
from tasks.checks import check_words, clean_prompt
from tasks.keys import config_hash

Target = Callable[[random.Random, Path], Callable[[], object]]


def params_file(rng: random.Random, folder: Path) -> Callable[[], object]:
    """--params FILE, up to the hash that run.json has of it."""
    file = folder / "params.yaml"
    kind = rng.random()
    if kind < 0.6:
        *parents, last = rng.choice(_places())
        indents = [f"{' ' * 2 * depth}{key}:\n" for depth, key in enumerate(parents)]
        head, value = " " * 2 * len(parents), rng.choice(YAML_SCALARS)
        file.write_text("".join(indents) + f"{head}{last}: {value}\n", "utf-8", "surrogatepass")
    elif kind < 0.9:
        file.write_bytes(damaged(rng, PARAMS.read_bytes()))
    else:
        file.write_text(rng.choice((BOMB, "training:\n  " + BOMB.replace("\n", "\n  "), "- 1\n")))
    return lambda: config_hash(load_config(file))


def setting(rng: random.Random, folder: Path) -> Callable[[], object]:
    """--set a.b=c."""
    key = ".".join(str(part) for part in rng.choice(_places()))
    if rng.random() < 0.15:
        key = rng.choice(
            (key + ".x", "training" + ".a" * 5000, "a" * 10**5, ".", "..", "__class__")
        )
    value = rng.choice(YAML_SCALARS) if rng.random() < 0.8 else text(rng)
    return lambda: config_hash(load_config(None, [f"{key}={value}"]))


def prompts_file(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A suite's prompts, and the folder that each would get."""
    file = folder / "prompts.yaml"
    if rng.random() < 0.2:
        good = "prompts: [a red bear, a blue car]\nseeds: [0, 1]\n"
        file.write_bytes(damaged(rng, good.encode()))
    else:
        values = rng.choices(YAML_SCALARS, k=2)
        form = rng.choice(
            ("- {0}\n- {1}\n", "prompts: {0}\nseeds: {1}\n", "prompts: [{0}]\n", BOMB)
        )
        filled = form if form is BOMB else form.format(*values)
        file.write_text(filled, "utf-8", "surrogatepass")

    def read() -> None:
        for one in read_prompts(file)[0]:
            _stays_inside(clean_prompt(one), 0)

    return read


def prompt(rng: random.Random, folder: Path) -> Callable[[], object]:
    """A prompt on the command line, up to its claimed folder."""
    asked = text(rng) if rng.random() < 0.7 else rng.choice(ODD).join(rng.choices(WORDS, k=3))
    seed = rng.choice((0, 1, 2**63 - 1))

    def read() -> None:
        cleaned = clean_prompt(asked)
        _stays_inside(cleaned, seed)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(_no_object()):
            check_words(cleaned)
        with lock_asset(folder / default_folder(cleaned, seed), cleaned, seed):
            pass

    return read


def _stays_inside(cleaned: str, seed: int) -> None:
    where = default_folder(cleaned, seed)
    assert where.parent == Path("outputs") and where.name not in ("", ".", ".."), where
    assert where.name.isascii() and "/" not in where.name and len(where.name) <= 100, where


def _no_object() -> type[Exception]:
    from stabledreamer_core.errors import UserError

    return UserError


@cache
def _places() -> tuple[tuple[Any, ...], ...]:
    return tuple(place for place in paths_of(yaml.safe_load(PARAMS.read_text())) if _named(place))


def _named(place: tuple[Any, ...]) -> bool:
    return all(isinstance(part, str) for part in place)


TARGETS: dict[str, Target] = {
    "params": params_file,
    "set": setting,
    "prompts": prompts_file,
    "prompt": prompt,
    "prior": prior,
    "checkpoint": checkpoint,
    "state": state,
    "ply": ply,
    "asset": asset,
    "glb": glb,
}
