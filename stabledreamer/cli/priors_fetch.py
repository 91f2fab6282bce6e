"""stabledreamer priors fetch: download a prior, and no more of it than is read."""

import shutil
from typing import Annotated

from cyclopts import Parameter

from stabledreamer.cli.priors_named import Named, named
from stabledreamer.cli.program import command
from stabledreamer_core.errors import UserError


def fetch(
    name: str | None = None,
    /,
    *,
    preset: str | None = None,
    revision: str | None = None,
    variant: str | None = None,
    text: Annotated[bool, Parameter(negative="--no-text")] = True,
) -> int:
    """Download a prior: only what is read, resumable, its checksums verified.

    Again after an interruption: goes on within the file. Again when all is there: verifies it.

    Args:
        name: a known name (stabledreamer priors list) or a hub id.
        preset: instead, both priors of a preset.
        revision: a commit, branch or tag, default the pinned one.
        variant: infix of the weights' names, such as fp16.
        text: --no-text leaves the text encoder out, where embeddings come from another machine.
    """
    if (name is None) == (preset is None):
        raise UserError("name a prior, or --preset and a preset")
    names = [name] if name is not None else _of_preset(str(preset))
    chosen = [named(one, revision, variant) for one in names]
    for one, prior in zip(names, chosen, strict=True):
        if prior.folder:
            raise UserError(f"{one} is a folder on this machine; there is nothing to download")
    for one, prior in zip(names, chosen, strict=True):
        fetch_prior(prior, text)
        print(f"look at it: {command('priors', 'check', one)}")
    return 0


def _of_preset(preset: str) -> list[str]:
    """The priors of a preset's stages, by the catalogue's names."""
    from stabledreamer.runtime.settings import load_config
    from stabledreamer_core.priors.catalogue import known_source

    config = load_config(preset=preset)
    sources = dict.fromkeys((config.stage1.prior, config.stage2.prior))
    known = [known_source(source) for source in sources]
    return [one.name if one else source for one, source in zip(known, sources, strict=True)]


def fetch_prior(prior: Named, text: bool) -> None:
    """Download a hub model, saying what it costs first.

    Raises:
        UserError: it cannot be had.
    """
    from stabledreamer_core.priors.download import download, plan_download, verify
    from stabledreamer_core.priors.layout import check_folder, needed_files
    from stabledreamer_core.priors.source import complete_folder

    folder = complete_folder(prior.source, prior.revision, prior.variant, text)
    if folder is None:
        plan = plan_download(prior.source, prior.revision, prior.variant, text)
        free = shutil.disk_usage(plan.folder).free
        print(
            f"{plan.source} at {plan.commit[:8]}: {plan.missing_bytes / 1e9:.3g} GB to download,"
            f" {free / 1e9:.0f} GB free on the disk",
            flush=True,
        )
        folder = download(plan)
    else:
        print(f"{prior.source} at {folder.name[:8]}: downloaded; reading it again", flush=True)
        damaged = verify(folder, needed_files(folder, prior.variant, text))
        if damaged:
            print(f"damaged, and removed: {', '.join(damaged)}; downloading again", flush=True)
            folder = download(plan_download(prior.source, folder.name, prior.variant, text))
    check_folder(folder, prior.variant, text)
    print(f"whole and verified: {folder}")
    if not prior.revision:
        print(f"pin it: revision: {folder.name}")
