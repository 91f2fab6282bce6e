"""A campaign's YAML file: variants of the default settings, and which of them are compared."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stabledreamer.runtime.settings import load_config
from stabledreamer_core.errors import UserError
from stabledreamer_core.settings.config import Config, read_mapping
from stabledreamer_core.settings.stage import STAGES, StageName

BEFORE = "-stage1"  # of a variant's name: the same assets before stage 2
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # a variant names a folder


class Claim(BaseModel):
    """Two variants to compare prompt by prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    claim: str
    ours: str
    other: str


class Campaign(BaseModel):
    """What benchmarks/claims/flow_twin.yaml and economy.yaml hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    variants: dict[Annotated[str, Field(pattern=NAME)], list[str]] = Field(min_length=1)
    """Name: `a.b=c` overrides of params.yaml."""
    claims: list[Claim]
    batch: int = Field(default=18, ge=1)
    """Assets optimised together."""
    judged: list[StageName] = Field(default=[*STAGES])
    """Stages whose assets are judged; the last one always."""
    cost: bool = False
    """Warm up, measure depth_chamfer.py's metric, and publish seconds beside quality."""

    @model_validator(mode="after")
    def _known(self) -> "Campaign":
        if STAGES[-1] not in self.judged:
            raise ValueError(f"judged must name {STAGES[-1]}")
        named = {name + suffix for name in self.variants for suffix in ("", BEFORE)}
        for claim in self.claims:
            for side in (claim.ours, claim.other):
                if side not in named:
                    raise ValueError(f"the claim {claim.claim!r} is of {side}, which is no variant")
        return self

    def config(self, variant: str, more: list[str]) -> Config:
        """A variant's settings, under overrides that all variants share."""
        return load_config(overrides=[*self.variants[variant], *more])


def read_campaign(name: str) -> tuple[str, Campaign]:
    """Read a campaign and try the settings of all its variants.

    Args:
        name: of a file beside this one, without its ending; or a path that ends in `.yaml`.

    Returns:
        Its name, and what it holds.

    Raises:
        UserError: there is no such file, or something in it is wrong.
    """
    path = Path(name) if name.endswith(".yaml") else Path(__file__).with_name(f"{name}.yaml")
    if not path.exists():
        raise UserError(f"there is no campaign {name}: it is flow_twin, economy or a .yaml file")
    campaign = _validated(path, read_mapping(path))
    for variant in campaign.variants:
        try:
            campaign.config(variant, [])
        except UserError as error:
            raise UserError(f"{path.name}, variant {variant}: {error}") from None
    return path.stem, campaign


def _validated(path: Path, content: dict[str, Any]) -> Campaign:
    try:
        return Campaign.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "campaign"
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path.name}: {where}: {message}") from None
