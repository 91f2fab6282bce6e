"""stabledreamer priors check: do these weights make pictures of what a prompt says?"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from stabledreamer.cli.options import Whole
from stabledreamer.cli.priors_named import Device, Dtype, Named, named, place_of
from stabledreamer.cli.terminal_picture import picture_lines
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer_core.errors import UserError

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from stabledreamer_core.priors import Prior

TOY, REAL = "a red bear wearing a top hat", "a dslr photo of a corgi wearing a top hat"
SIDE = 256  # pixels of a small picture on the sheet


def check(
    name: str,
    prompt: str | None = None,
    /,
    *,
    count: Whole = 4,
    steps: Whole = 30,
    guidance: float | None = None,
    seed: Whole = 0,
    revision: str | None = None,
    variant: str | None = None,
    dtype: Dtype | None = None,
    device: Device = "auto",
    embeddings: Path | None = None,
    out: Path | None = None,
) -> int:
    """Sample a few ordinary pictures of a prompt, through the code that dreams.

    A minute that shows whether weights work, before an hour is spent on them.

    Args:
        name: a known name (stabledreamer priors list), a hub id or a folder.
        prompt: default a toy's for the bundled priors, else a corgi's.
        count: pictures, default 4.
        steps: denoising steps, default 30.
        guidance: s in uncond + s (cond - uncond), default as its documentation has it.
        seed: default 0.
        revision: of a hub id.
        variant: infix of the weights' names, such as fp16.
        dtype: auto, float32, float16 or bfloat16.
        device: auto, cpu or cuda.
        embeddings: a file that `priors embed` made, in place of the text encoder.
        out: the picture, default outputs/check-NAME.png.
    """
    if count < 1 or steps < 1:
        raise UserError(f"--count {count} and --steps {steps} must be at least 1")
    chosen = named(name, revision, variant)
    toy = Path(name).name.startswith("toybox-")
    prompt = prompt or (TOY if toy else REAL)
    out = out or Path("outputs") / f"check-{Path(name).name}.png"
    scale = chosen.guidance_scale if guidance is None else guidance

    import torch

    from stabledreamer_core.memory import peak_memory_bytes
    from stabledreamer_core.priors import load_prior

    if not chosen.folder:
        tell_of(chosen, device, embeddings)
    place = place_of(device)
    prior = load_prior(
        chosen.source,
        revision=chosen.revision,
        variant=chosen.variant,
        dtype=dtype or chosen.dtype,
        device=place,
        base=ROOT,
        cache_dir=EMBEDDINGS,
        embeddings=embeddings,
        acceleration="none",
    )
    print(
        f"{name}: {prior.space} space, {prior.resolution} x {prior.resolution} pixels,"
        f" {str(prior.dtype).removeprefix('torch.')} on {place.type}",
        flush=True,
    )
    began = time.monotonic()
    cond, uncond = prior.embed([prompt, ""]).split(1)
    embedded = time.monotonic()
    images = _sample(prior, cond, uncond, count, steps, scale, torch.Generator().manual_seed(seed))
    sampled = time.monotonic()
    _write_sheet(images, out)
    for line in picture_lines(out):
        print(line)
    memory = peak_memory_bytes(place) / 2**30
    print(
        f"text {embedded - began:.1f} s, {count} pictures of {steps} steps at guidance {scale:g}"
        f" {sampled - embedded:.1f} s, {memory:.1f} GB of memory"
    )
    print(f"{out}: {prompt!r}")
    return 0


def tell_of(chosen: Named, device: str, embeddings: Path | None) -> None:
    """Say what a hub model needs, before it is downloaded.

    Raises:
        UserError: this machine does not have it.
    """
    from stabledreamer_core.priors.catalogue import known_source
    from stabledreamer_core.settings.stage import Stage
    from tasks.needs import tell

    known = known_source(chosen.source)
    stage = Stage(
        prior=chosen.source,
        revision=chosen.revision,
        variant=chosen.variant,
        embeddings=str(embeddings) if embeddings else None,
        resolution=known.side if known else 64,
    )
    tell((stage,), device)


def _sample(
    prior: "Prior",
    cond: "Tensor",
    uncond: "Tensor",
    count: int,
    steps: int,
    scale: float,
    random: "Generator",
) -> "Tensor":
    """Pictures [count, 3, H, W] in [0, 1], one at a time, as the smallest card can.

    Raises:
        UserError: they are not finite.
    """
    import torch
    from tqdm import tqdm

    from stabledreamer_core.distillation.denoise import sample

    limit = "dynamic" if prior.space == "pixel" else "none"
    images = [
        sample(prior, cond, uncond, scale, steps, random, limit).float().cpu()
        for _ in tqdm(range(count), desc="pictures", disable=None)
    ]
    pictures = torch.cat(images)
    if not pictures.isfinite().all():
        raise UserError(
            "the pictures are not finite numbers: these weights overflow in"
            f" {str(prior.dtype).removeprefix('torch.')}; try --dtype bfloat16 or float32"
        )
    return pictures


def _write_sheet(images: "Tensor", out: Path) -> None:
    """The pictures side by side, small ones enlarged."""
    from PIL import Image

    from stabledreamer_core.files import atomic_write

    row = images.permute(2, 0, 3, 1).flatten(1, 2)  # [H, count W, 3]
    sheet = Image.fromarray((row * 255).round().byte().numpy())
    times = max(1, SIDE // images.shape[-1])
    with atomic_write(out) as temporary:
        sheet.resize((sheet.width * times, sheet.height * times), Image.Resampling.NEAREST).save(
            temporary
        )
