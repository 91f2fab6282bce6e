"""The command that makes an asset again, from what run.json says of it."""

import json
import shlex
from typing import Any

from stabledreamer.runtime.root import QUICK
from stabledreamer.runtime.settings import load_config, presets
from stabledreamer_core.errors import UserError
from stabledreamer_core.settings.config import Config


def command(record: dict[str, Any]) -> tuple[str, bool]:
    """A shell's command, and whether it stands for all settings of the record.

    The preset that leaves the fewest settings to be said is named; the rest go to --set.
    """
    prompt = str(record["prompt"])
    dashed = prompt.startswith("-")  # would pass for an option
    words = ["stabledreamer", "dream", *([] if dashed else [prompt])]
    try:
        config = Config.model_validate(record["config"])
        named = {name: load_config(preset=name) for name in [None, *presets()]}
    except (KeyError, ValueError, UserError):  # settings of another version
        settings = None
    else:
        wanted = config.model_dump(mode="json")
        said = {
            name: _differences(base.model_dump(mode="json"), wanted) for name, base in named.items()
        }
        nearest = min(said, key=lambda name: len(said[name]))
        settings = said[nearest]
        if nearest == QUICK.stem:
            words.append("--quick")
        elif nearest:
            words += ["--preset", nearest]
    if record["seed"]:
        words += ["--seed", str(record["seed"])]
    for path, value in (settings or {}).items():
        words += ["--set", f"{path}={json.dumps(value)}"]
    words += ["--", prompt] if dashed else []
    return shlex.join(words), settings is not None


def _differences(base: Any, wanted: Any, path: str = "") -> dict[str, Any]:
    """The values of `wanted` that `base` has otherwise, by dotted path."""
    if isinstance(wanted, dict) and isinstance(base, dict):
        found: dict[str, Any] = {}
        for key, value in wanted.items():
            inner = f"{path}.{key}" if path else key
            found |= _differences(base.get(key), value, inner)
        return found
    return {} if base == wanted else {path: wanted}
