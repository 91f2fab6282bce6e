"""stabledreamer priors embed: prompts' embeddings as a file, for a machine without the encoder."""

import time
from pathlib import Path
from typing import Literal

from stabledreamer.cli.priors_named import Device, Dtype, named, place_of
from stabledreamer.cli.program import command
from stabledreamer.runtime.root import EMBEDDINGS, ROOT
from stabledreamer_core.errors import UserError


def embed(
    name: str,
    prompt: str | None = None,
    /,
    *,
    prompts: Path | None = None,
    out: Path = Path("embeddings.safetensors"),
    view_words: Literal["none", "four", "eight"] | None = None,
    revision: str | None = None,
    variant: str | None = None,
    dtype: Dtype | None = None,
    device: Device = "auto",
) -> int:
    """Embed prompts with a prior's text encoder, and keep them as a file.

    The file goes to a machine whose GPU or disk has no room for the encoder (T5 of 11 GB, say);
    there a stage takes it by its setting `embeddings`, and never loads the encoder.

    Args:
        name: a known name (stabledreamer priors list), a hub id or a folder.
        prompt: what to embed.
        prompts: a file of prompts, as suites have them; besides.
        out: default embeddings.safetensors.
        view_words: as the stage will have them, default four (eight for the bundled priors).
        revision: of a hub id.
        variant: infix of the weights' names, such as fp16.
        dtype: auto, float32, float16 or bfloat16.
        device: auto, cpu or cuda.
    """
    from flows.prompts_file import read_prompts
    from tasks.checks import clean_prompt

    asked = [
        *([prompt] if prompt is not None else []),
        *(read_prompts(prompts)[0] if prompts else []),
    ]
    if not asked:
        raise UserError("nothing to embed: give a prompt, or --prompts and a file of them")
    asked = list(dict.fromkeys(map(clean_prompt, asked)))
    chosen = named(name, revision, variant)
    toy = Path(name).name.startswith("toybox-")
    words = view_words or ("eight" if toy else "four")

    from stabledreamer_core.distillation.view_prompts import view_prompts
    from stabledreamer_core.priors import load_prior
    from stabledreamer_core.priors.embedding_file import write_embeddings

    began = time.monotonic()
    prior = load_prior(
        chosen.source,
        revision=chosen.revision,
        variant=chosen.variant,
        dtype=dtype or chosen.dtype,
        device=place_of(device),
        base=ROOT,
        cache_dir=EMBEDDINGS,
    )
    views = (view for one in asked for view in (one, *view_prompts(one, words)))
    texts = [*dict.fromkeys(views), ""]
    embeddings = dict(zip(texts, prior.embed(texts), strict=True))
    write_embeddings(out, prior.folder, embeddings)
    size = out.stat().st_size / 1e6
    print(
        f"{out}: {len(asked)} prompts with {words} view words, {size:.1f} MB, in"
        f" {time.monotonic() - began:.0f} s"
    )
    print(f"there: {command('dream', asked[0], '--set', f'stage1.embeddings={out}')}")
    return 0
