"""The options that every command which computes has."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token


def whole(_: object, tokens: Sequence[Token]) -> int:
    """A whole number: cyclopts would round 1.5."""
    (token,) = tokens
    return int(token.value)


Whole = Annotated[int, Parameter(converter=whole)]
Overrides = Annotated[tuple[str, ...], Parameter(name="--set", consume_multiple=False)]


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Settings, and how much is said."""

    params: Path | None = None
    """settings over params.yaml"""
    overrides: Overrides = ()
    """one setting, a.b=c; may be given often"""
    preset: str | None = None
    """real priors: open, paper, sd3, sdxl or small (params/)"""
    quick: bool = False
    """the fast preset of the bundled priors"""
    translucent: bool = False
    """let light through: for a ghost, a glass or a jelly"""
    verbose: bool = False
    """show the log: settings, rates, memory"""

    @property
    def settings(self) -> tuple[str, ...]:
        """What --translucent sets, and after it what --set does."""
        from stabledreamer.runtime.settings import TRANSLUCENT

        return (*(TRANSLUCENT if self.translucent else ()), *self.overrides)

    def show_log(self) -> None:
        """Let Prefect show the log, if asked to; call it before Prefect is imported."""
        if self.verbose:
            os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"
