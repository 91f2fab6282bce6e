"""What a search leaves in its folder and under which names, for all who read it."""

import json
from pathlib import Path
from typing import Any

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.files import atomic_write
from stabledreamer_core.settings.config import Config

Result = dict[str, Any]  # an asset: recipe, set, prompt, seed, key, and what was measured


def name_of(result: Result) -> tuple[str, str, int]:
    """What tells a search's results apart."""
    return result["recipe"], result["prompt"], result["seed"]


def result_name(result: Result, folder: str, ending: str) -> str:
    """Where a result's picture or Gaussians lie in the search's folder."""
    slug = "-".join(result["prompt"].split()[1:])
    return f"{folder}/{result['recipe']}/{slug}-s{result['seed']}{ending}"


def read_results(file: Path) -> list[Result]:
    """One a line; none where there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def write_results(file: Path, results: list[Result]) -> None:
    """One a line."""
    with atomic_write(file) as temporary:
        temporary.write_text("".join(json.dumps(result) + "\n" for result in results))


def row_of(result: Result, metrics: dict[str, Any]) -> dict[str, Any]:
    """A result as a row of benchmarks/claims/statistics.py."""
    kept = {name: result[name] for name in ("prompt", "seed")}
    return {"variant": result["recipe"], **kept, "metrics": metrics}


def recipe_config(settings: list[str]) -> Config:
    """params.yaml under a recipe's params file (at most one) and its `a.b=c` overrides."""
    files = [Path(setting) for setting in settings if "=" not in setting]
    overrides = [setting for setting in settings if "=" in setting]
    return load_config(files[0] if files else None, overrides)
