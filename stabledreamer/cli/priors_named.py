"""What a person names on the command line: a known prior, a hub id, or a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stabledreamer.runtime.root import ROOT
from stabledreamer_core.errors import UserError

if TYPE_CHECKING:
    from torch import device

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Named:
    """A prior as the settings of a stage have it, and how its pipeline samples."""

    source: str
    revision: str | None
    variant: str | None
    dtype: str
    guidance_scale: float
    folder: bool
    """Whether it is a folder on this machine."""


def named(name: str, revision: str | None = None, variant: str | None = None) -> Named:
    """Find what `name` names; `revision` and `variant` stand before those of the catalogue.

    Raises:
        UserError: nothing is called that.
    """
    from stabledreamer_core.priors.catalogue import find_known, unknown_name
    from stabledreamer_core.priors.hub import HUB_ID
    from stabledreamer_core.priors.source import local_folder

    known = find_known(name)
    if known is not None:
        return Named(
            known.source,
            revision or known.revision,
            variant or known.variant,
            known.dtype,
            known.guidance_scale,
            folder=False,
        )
    simple = Path(name).name == name and not Path(name).exists()
    if simple or (not HUB_ID.fullmatch(name) and not Path(name).expanduser().exists()):
        raise unknown_name(name)
    folder = local_folder(name, ROOT) is not None
    return Named(name, revision, variant, "auto", 5.0, folder)


def place_of(name: Device) -> "device":
    """The device that --device names.

    Raises:
        UserError: it is not there.
    """
    import torch

    from stabledreamer_core.optimization.stage import pick_device

    place = pick_device(name)
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here (stabledreamer doctor says why)")
    return place
