"""The settings of this checkout: the defaults, params.yaml, the quick preset, the user's file."""

from collections.abc import Sequence
from pathlib import Path

from stabledreamer.runtime.root import PARAMS, QUICK
from stabledreamer_core.settings import config
from stabledreamer_core.settings.config import Config


def load_config(
    params_file: Path | None = None, overrides: Sequence[str] | None = None, quick: bool = False
) -> Config:
    """params.yaml, then the quick preset, then the user's file, then `a.b=c` overrides.

    Raises:
        UserError: a file that is missing or no YAML mapping, an unknown key, a bad value.
    """
    files = [PARAMS, *([QUICK] if quick else []), *([Path(params_file)] if params_file else [])]
    return config.load_config(files, overrides or ())
