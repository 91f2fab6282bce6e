"""The folder of one asset: its name, whose it is, and who works in it."""

import hashlib
import json
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stabledreamer_core.errors import UserError
from stabledreamer_core.files import read_whole
from stabledreamer_core.settings.stage import StageName
from tasks import run_record
from tasks.leftovers import remove_leftovers

OWNER = ".prompt.json"
LOCK = ".lock"
MAX_SLUG_CHARS = 60


def default_folder(prompt: str, seed: int) -> Path:
    """outputs/<slug>-s<seed>, below the current folder."""
    return Path("outputs") / f"{slug(prompt)}-s{seed}"


def slug(prompt: str) -> str:
    """Lower-case ASCII letters, digits and single hyphens; at most `MAX_SLUG_CHARS` characters.

    Where that leaves nothing, or has to be cut, a short hash of the prompt tells it from others.
    """
    ascii_text = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    text = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")
    if text and len(text) <= MAX_SLUG_CHARS:
        return text
    return _told_apart(text, prompt)


def slugs(prompts: Iterable[str]) -> dict[str, str]:
    """Each prompt's slug; prompts that would share one ("a red bear", "A red bear") get a hash."""
    plain = {prompt: slug(prompt) for prompt in prompts}
    shared = Counter(plain.values())
    return {
        prompt: name if shared[name] == 1 else _told_apart(name, prompt)
        for prompt, name in plain.items()
    }


def _told_apart(text: str, prompt: str) -> str:
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:8]
    return f"{text[: MAX_SLUG_CHARS - 9].strip('-')}-{digest}".strip("-")


@contextmanager
def lock_asset(out: Path, prompt: str, seed: int) -> Iterator[None]:
    """Make the folder this prompt's and nobody else's for the time of the block.

    What a killed run was writing is removed.

    Raises:
        UserError: it cannot be written, holds something else, or another run works in it.
    """
    check_owner(out, prompt, seed)
    lock = FileLock(out / LOCK, timeout=0, thread_local=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = lock.acquire()  # until the block ends or the process dies, however it dies
    except Timeout:
        raise UserError(f"another run is working in {out}; wait for it, or choose --out") from None
    except OSError as error:
        raise _unwritable(out, error) from None
    with held:
        if _owner(out) is None:  # new, or torn by a kill
            owner = json.dumps({"prompt": prompt, "seed": seed})
            try:
                (out / OWNER).write_text(owner, encoding="utf-8")
            except OSError as error:
                raise _unwritable(out, error) from None
        remove_leftovers(out)
        yield


def check_owner(out: Path, prompt: str, seed: int) -> None:
    """Raise a UserError if the folder is not free, and not this prompt's and seed's either."""
    try:
        exists = out.exists()
    except (OSError, ValueError) as error:
        raise UserError(f"--out {str(out)[:80]}: {error}; choose another") from None
    if not exists:
        return
    if not out.is_dir():
        raise UserError(f"--out {out} is a file; choose a folder")
    try:
        empty = not any(path.name not in (OWNER, LOCK) for path in out.iterdir())
    except OSError as error:
        raise UserError(f"cannot read {out}: {error.strerror}; choose another --out") from None
    _check_links(out)
    owner = _owner(out) or run_record.read(out)
    if owner is None and empty:
        return
    if owner is None or "prompt" not in owner:
        raise UserError(f"{out} is not empty and holds no asset of ours; choose another --out")
    if (owner["prompt"], owner.get("seed")) != (prompt, seed):
        raise UserError(
            f"{out} holds {str(owner['prompt'])[:80]!r} with seed {str(owner.get('seed'))[:20]}; "
            "choose another --out"
        )


def _check_links(out: Path) -> None:
    """Raise a UserError if something in the folder is a link: what is written may go elsewhere."""
    for path in out.rglob("*"):
        if path.is_symlink():
            raise UserError(f"{path} is a link, and a run might write where it leads; remove it")


def work_folder(out: Path, stage: StageName, key: str) -> Path:
    """Where a stage of the asset in `out` keeps resume states; `key` is the step's (keys.py)."""
    return out / stage / "work" / key[:16]


def clear_work(out: Path, stage: StageName) -> None:
    """Remove a stage's resume states: its result is safe."""
    shutil.rmtree(out / stage / "work", ignore_errors=True)


def _owner(out: Path) -> dict[str, object] | None:
    try:
        owner = json.loads(read_whole(out / OWNER, 2**20).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return owner if isinstance(owner, dict) else None


def _unwritable(out: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to {out}: {error.strerror or error}; choose another --out")
