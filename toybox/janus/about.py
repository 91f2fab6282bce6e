"""What a leaderboard says of how assets were made."""

from pathlib import Path
from typing import Any

from stabledreamer_core import __version__
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.describe import describe
from toybox.judge import ROOT


def about(config: Config) -> dict[str, Any]:
    """Priors (`stage2_prior` is None where that stage is left out), `settings` and `version`.

    `settings` are the others that are not the defaults.
    """
    default = {one.key: one.value for one in describe(Config())}
    changed = {one.key: one.value for one in describe(config) if one.value != default[one.key]}
    second = config.stage2.iterations > 0
    named = {"stage1.prior", "stage2.prior"} | (set() if second else {"stage2.iterations"})
    return {
        "prior": shown(config.stage1.prior),
        "stage2_prior": shown(config.stage2.prior) if second else None,
        "settings": {name: value for name, value in changed.items() if name not in named},
        "version": __version__,
    }


def shown(prior: str) -> str:
    """A prior's name without this machine's folders: of one elsewhere the last two parts."""
    path = Path(prior)
    if not path.is_absolute():
        return prior
    if path.is_relative_to(ROOT):
        return path.relative_to(ROOT).as_posix()
    return Path(*path.parts[-2:]).as_posix()
