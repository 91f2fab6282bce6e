"""Find a prior: a local folder, or a snapshot of a hub model.

Everything after `find_folder` sees a local folder.
"""

from pathlib import Path

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.priors.download import download, plan_download
from stabledreamer_core.priors.hub import HUB_ID, cached_folder
from stabledreamer_core.priors.layout import check_folder, needed_files


def find_folder(
    source: str,
    revision: str | None,
    variant: str | None,
    base: Path | None = None,
    text: bool = True,
) -> Path:
    """Return the checked local folder of a prior; download a hub model that is not cached.

    Args:
        source: a folder (relative ones: from the current folder, then from `base`) or a hub id.
        revision: of a hub id: a commit, tag or branch; ignored for a folder.
        variant: infix of the weights' names, such as "fp16", or None.
        base: where a relative folder is looked for after the current one; None: nowhere else.
        text: whether the text encoders' weights are needed.

    Raises:
        UserError: no such folder, a folder that is damaged or incomplete, or a hub model that is
            neither cached nor reachable.
    """
    folder = local_folder(source, base)
    if folder is not None:
        check_folder(folder, variant, text)
        return folder
    cached = complete_folder(source, revision, variant, text)
    if cached is None:
        cached = download(plan_download(source, revision, variant, text))
    check_folder(cached, variant, text)
    return cached


def complete_folder(
    source: str, revision: str | None, variant: str | None, text: bool = True
) -> Path | None:
    """Return the hub cache's snapshot of `source` if it lacks nothing, without the network."""
    cached = cached_folder(source, revision)
    if cached is None:
        return None
    names = needed_files(cached, variant, text)
    return cached if all((cached / name).exists() for name in names) else None


def find_file(path: Path | str, base: Path | None = None) -> Path:
    """Return a file's path, from the current folder or else from `base`, there or not."""
    path = Path(path).expanduser()
    other = (base or Path()) / path
    return other if not path.exists() and other.exists() else path


def local_folder(source: str, base: Path | None = None) -> Path | None:
    """Return the folder that `source` names, or None where it must be a hub id.

    Raises:
        UserError: `source` can only be a folder, and there is none.
    """
    try:
        path = Path(source).expanduser()
        path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # no such user; a name without end
        raise UserError(f"no prior at {source[:80]!r}: {first_line(error)}") from None
    bases = [Path.cwd(), *([base] if base else [])]
    candidates = [path] if path.is_absolute() else [folder / path for folder in bases]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
        if candidate.is_file():
            raise UserError(
                f"{source} is a file; a prior is a folder in diffusers' format: open it with the"
                " pipeline's `from_single_file` and save that with `save_pretrained`, or take the"
                " model's repository (`stabledreamer priors list`)"
            )
    # "priors/mine" has a hub id's form; a folder "priors" says what was meant.
    is_local = any(candidate.parent.is_dir() for candidate in candidates)
    if is_local or not HUB_ID.fullmatch(source):
        looked = " and ".join(str(candidate) for candidate in dict.fromkeys(candidates))
        raise UserError(f"no prior at {source!r}: looked for the folder {looked}")
    return None
