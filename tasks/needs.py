"""What the priors need, said and compared with this machine before anything is downloaded."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stabledreamer.runtime.root import ROOT
from stabledreamer_core.errors import UserError
from stabledreamer_core.settings.config import Config
from stabledreamer_core.settings.stage import STAGES, Stage

if TYPE_CHECKING:  # the package imports torch
    from stabledreamer_core.priors.catalogue import Known

GB = 10**9
SPARE_GB = 1.0  # left free on the disk


@dataclass(frozen=True)
class Machine:
    """What there is, in 1e9 bytes.

    Attributes:
        disk_gb: free on the disk of the hub's cache.
        memory_gb: free memory.
        gpu_gb: what a GPU gives us; None without one.
        eight_bit: whether text encoders can be read in 8 bits.
        login: whether there is a login to the hub.
    """

    disk_gb: float
    memory_gb: float
    gpu_gb: float | None
    eight_bit: bool
    login: bool


def tell_needs(config: Config) -> None:
    """Say on stderr, once, what the settings' hub models need of this machine.

    Raises:
        UserError: it does not have that, or a model is gated and there is no login.
    """
    stages = tuple(config.stage(name) for name in STAGES)
    if any(_is_hub(stage) for stage in stages):
        tell(stages, config.device)


@lru_cache(maxsize=4)
def tell(stages: tuple[Stage, ...], device: str) -> None:
    """Say on stderr what stages need; a stage alone goes without its number.

    Raises:
        UserError: as `needs`.
    """
    for line in needs(stages, look_at_machine(device)):
        print(line, file=sys.stderr, flush=True)


@lru_cache(maxsize=4)
def tell_plan(folder: Path, stage: Stage, device: str) -> None:
    """Say on stderr, once, how a prior in a folder runs on this machine's GPU.

    Raises:
        UserError: it does not fit.
    """
    if _is_hub(stage) and _known(stage):  # `tell_needs` has said it
        return
    from stabledreamer_core.optimization.stage import pick_device

    place = pick_device(device)
    if place.type != "cuda":
        return
    from stabledreamer_core.priors.memory_plan import plan_folder
    from stabledreamer_core.priors.models import choose_dtype

    dtype = choose_dtype(stage.dtype, stage.variant, place)
    how = (folder, stage.variant, dtype, place, stage.resolution)
    _, plan = plan_folder(*how, text=stage.embeddings is None)
    if plan is not None:
        print(f"{stage.prior}: {plan.words()}", file=sys.stderr, flush=True)


def needs(stages: tuple[Stage, ...], machine: Machine) -> list[str]:
    """Compare what stages need with a machine, as a line each.

    Raises:
        UserError: it has not enough disk or memory, or a model is gated and there is no login.
    """
    lines: list[str] = []
    missing: dict[str, float] = {}
    for number, stage in enumerate(stages, 1):
        if not _is_hub(stage):
            continue
        known, here = _known(stage), _is_here(stage)
        label = f"stage {number}: " if len(stages) > 1 else ""
        if known is None:
            lines.append(label + stage.prior + ("" if here else ", to be downloaded"))
            continue
        if known.gated and not here and not machine.login:
            raise UserError(
                f"{known.source} is gated and you are not logged in to the hub: accept its licence"
                f" at https://huggingface.co/{known.source}, then run `hf auth login`; --preset"
                " open and small need neither"
            )
        if not here:
            missing[known.source] = max(missing.get(known.source, 0.0), _missing_gb(stage))
        how = ", ".join(_how(stage, machine))
        lines.append(f"{label}{known.source} ({known.licence}): {how}")
    total = sum(missing.values())
    if total + SPARE_GB > machine.disk_gb and missing:
        raise UserError(
            f"the priors need {total:.0f} GB more on the disk of {_cache()}, which has"
            f" {machine.disk_gb:.0f} GB free; free some, set HF_HOME to a folder on another disk,"
            " or take --preset small (2 GB)"
        )
    if missing:
        lines.append(
            f"to download: {total:.1f} GB ({', '.join(missing)}); {machine.disk_gb:.0f} GB free"
        )
    return lines


def _how(stage: Stage, machine: Machine) -> Iterator[str]:
    """How a stage's prior runs here.

    Raises:
        UserError: it does not.
    """
    from stabledreamer_core.priors.memory_plan import plan_memory

    known = _known(stage)
    assert known is not None
    if machine.gpu_gb is not None:
        sizes = known.sizes(stage.resolution, text=stage.embeddings is None)
        plan = plan_memory(sizes, machine.gpu_gb * GB, machine.eight_bit, known.source)
        yield f"{machine.gpu_gb:.0f} GB GPU"
        yield plan.words()
        return
    width = {"float16": 1, "bfloat16": 1}.get(stage.dtype, 2)  # a CPU computes in float32
    need = width * (known.denoiser_gb + known.vae_gb) + SPARE_GB
    if need > machine.memory_gb:
        raise UserError(
            f"there is no GPU, and {known.source} takes {need:.0f} GB of memory on the CPU, of"
            f" which {machine.memory_gb:.0f} GB are free; take --preset small or the bundled priors"
        )
    yield f"no GPU: {need:.0f} GB of memory on the CPU, and minutes a step"


def _missing_gb(stage: Stage) -> float:
    """What is still to be downloaded of a stage's prior, about."""
    from stabledreamer_core.priors.hub import cached_folder

    known = _known(stage)
    assert known is not None
    share = 1.0
    if stage.embeddings:
        share -= known.text_gb / (known.text_gb + known.denoiser_gb + known.vae_gb)
    folder = cached_folder(stage.prior, stage.revision)
    blobs = folder.parents[1] / "blobs" if folder else Path("/nowhere")
    have = sum(file.stat().st_size for file in blobs.glob("*")) / GB
    return max(known.disk_gb * share - have, 0.0)


def look_at_machine(device: str) -> Machine:
    """Measure this machine."""
    import psutil
    import torch
    from huggingface_hub import get_token

    from stabledreamer_core.optimization.stage import pick_device
    from stabledreamer_core.priors.memory_plan import gpu_bytes, has_eight_bit

    place = pick_device(device)
    cuda = place.type == "cuda" and torch.cuda.is_available()
    return Machine(
        disk_gb=shutil.disk_usage(_cache()).free / GB,
        memory_gb=psutil.virtual_memory().available / GB,
        gpu_gb=gpu_bytes(place) / GB if cuda else None,
        eight_bit=has_eight_bit(),
        login=get_token() is not None,
    )


def _cache() -> Path:
    """The hub's cache, or the folder that it will be in."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    return folder


def _known(stage: Stage) -> "Known | None":
    from stabledreamer_core.priors.catalogue import known_source

    return known_source(stage.prior)


def _is_hub(stage: Stage) -> bool:
    """Whether a stage's prior is a hub's, not a folder here."""
    if any((place / stage.prior).is_dir() for place in (Path(), ROOT)):
        return False
    from stabledreamer_core.priors.source import local_folder

    return local_folder(stage.prior, ROOT) is None


def _is_here(stage: Stage) -> bool:
    """Whether all that a stage reads of its prior is in the hub's cache."""
    from stabledreamer_core.priors.source import complete_folder

    text = stage.embeddings is None
    return complete_folder(stage.prior, stage.revision, stage.variant, text) is not None
