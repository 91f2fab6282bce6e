"""Text embeddings carried as a file: computed on a machine that holds the text encoder, used on one
that does not.

A safetensors file: a tensor [L, D] a prompt, and in its metadata the prompts and which text encoder
made them.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stabledreamer_core.errors import UserError, first_line
from stabledreamer_core.files import atomic_write
from stabledreamer_core.priors.hub import snapshot_of
from stabledreamer_core.priors.identity import text_content_hash, text_hash

FORMAT = "stabledreamer embeddings 1"


def write_embeddings(path: Path, folder: Path, embeddings: dict[str, Tensor]) -> None:
    """Write embeddings [L, D] by their prompts, made by the text encoder in a prior's folder."""
    found = snapshot_of(folder)
    metadata = {
        "format": FORMAT,
        "name": "@".join(found) if found else folder.name,
        "priors": json.dumps(list(_identities(folder))),
        "prompts": json.dumps(list(embeddings)),
    }
    tensors = {
        str(index): value.detach().cpu().contiguous()
        for index, value in enumerate(embeddings.values())
    }
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata)


def read_embeddings(path: Path, folder: Path) -> dict[str, Tensor]:
    """Read the embeddings [L, D] of a file, for the prior in `folder`.

    Raises:
        UserError: no such file, one of another kind, or of another prior.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(
                    f"{path} is no file of embeddings; make one with `stabledreamer priors embed`"
                )
            made_by, prompts = json.loads(metadata["priors"]), json.loads(metadata["prompts"])
            embeddings = {prompt: file.get_tensor(str(n)) for n, prompt in enumerate(prompts)}
    except FileNotFoundError:
        raise UserError(
            f"no file of embeddings {path}; make it with `stabledreamer priors embed`"
        ) from None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"the embeddings {path} are damaged ({first_line(error)})") from None
    if not any(identity in made_by for identity in _identities(folder)):
        raise UserError(
            f"the embeddings {path} were made by {metadata['name']} and the prior is"
            f" {_name(folder)}: make them with that one, `stabledreamer priors embed`"
        )
    return embeddings


def missing_prompts(path: Path, prompts: list[str]) -> UserError:
    """Say that a file of embeddings lacks prompts."""
    more = f" and {len(prompts) - 1} more" if len(prompts) > 1 else ""
    return UserError(
        f"the embeddings {path} lack {prompts[0]!r}{more}; make them again with this prompt and the"
        " stage's view words: `stabledreamer priors embed NAME PROMPT --out FILE`"
    )


def _name(folder: Path) -> str:
    found = snapshot_of(folder)
    return "@".join(found) if found else str(folder)


def _identities(folder: Path) -> Iterator[str]:
    """By the hub's commit, at once; by content, which may mean reading 11 GB."""
    yield text_hash(folder)
    content = text_content_hash(folder)
    if content is not None:
        yield content
