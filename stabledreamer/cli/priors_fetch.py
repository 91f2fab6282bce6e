"""stabledreamer priors fetch: download a prior, and no more of it than is read."""

import shutil
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from stabledreamer.cli.priors_named import Named, named
from stabledreamer.cli.program import command
from stabledreamer_core.errors import UserError

if TYPE_CHECKING:
    from stabledreamer_core.priors.download import Plan


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
    from stabledreamer_core.priors.download import check_disk

    if (name is None) == (preset is None):
        raise UserError("name a prior, or --preset and a preset")
    names = [name] if name is not None else _of_preset(str(preset))
    chosen = [named(one, revision, variant) for one in names]
    for one, prior in zip(names, chosen, strict=True):
        if prior.folder:
            raise UserError(f"{one} is a folder on this machine; there is nothing to download")
    plans = [_plan(prior, text) for prior in chosen]  # all refusals before the first download
    check_disk([plan for plan in plans if plan is not None])
    for one, prior, plan in zip(names, chosen, plans, strict=True):
        _fetch(prior, plan, text)
        print(f"look at it: {command('priors', 'check', one)}", flush=True)
    return 0


def _of_preset(preset: str) -> list[str]:
    """The priors of a preset's stages, by the catalogue's names."""
    from stabledreamer.runtime.settings import load_config
    from stabledreamer_core.priors.catalogue import known_source

    config = load_config(preset=preset)
    sources = dict.fromkeys((config.stage1.prior, config.stage2.prior))
    known = [known_source(source) for source in sources]
    return [one.name if one else source for one, source in zip(known, sources, strict=True)]


def _plan(prior: Named, text: bool) -> "Plan | None":
    """What is to be downloaded, or None where all is there.

    Raises:
        UserError: it cannot be had.
    """
    from stabledreamer_core.priors.download import plan_download
    from stabledreamer_core.priors.source import complete_folder

    if complete_folder(prior.source, prior.revision, prior.variant, text) is not None:
        return None
    plan = plan_download(prior.source, prior.revision, prior.variant, text)
    free = shutil.disk_usage(plan.folder).free
    print(
        f"{plan.source} at {plan.commit[:8]}: {plan.missing_bytes / 1e9:.3g} GB to download,"
        f" {free / 1e9:.0f} GB free on the disk",
        flush=True,
    )
    return plan


def _fetch(prior: Named, plan: "Plan | None", text: bool) -> None:
    """Download what is planned; or verify what is there, and replace what is damaged."""
    from stabledreamer_core.priors.download import download, plan_download, verify
    from stabledreamer_core.priors.layout import check_folder, needed_files
    from stabledreamer_core.priors.source import complete_folder

    if plan is not None:
        folder = download(plan)
    else:
        there = complete_folder(prior.source, prior.revision, prior.variant, text)
        assert there is not None
        folder = there
        print(f"{prior.source} at {folder.name[:8]}: downloaded; reading it again", flush=True)
        if damaged := verify(folder, needed_files(folder, prior.variant, text)):
            print(f"damaged, and removed: {', '.join(damaged)}; downloading again", flush=True)
            folder = download(plan_download(prior.source, folder.name, prior.variant, text))
    check_folder(folder, prior.variant, text)
    print(f"whole and verified: {folder}")
    if not prior.revision:
        print(f"pin it: revision: {folder.name}")
