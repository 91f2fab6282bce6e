"""The string that the server of `stabledreamer serve` asks for, and whom it is told.

It lies in the folder `serve` of PREFECT_HOME. Programs are given it in their environment, never in
a command line: that anyone on the machine can read.
"""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from stabledreamer.runtime.prefect_home import PROFILES
from stabledreamer_core.files import atomic_write

PROFILE = "stabledreamer"


def folder() -> Path:
    """Where the string and the logs are."""
    return Path(os.environ["PREFECT_HOME"]).absolute() / "serve"


def auth_file() -> Path:
    """Where the string is."""
    return folder() / "auth_string"


def auth_string() -> str:
    """What the server asks for, `user:password`: made once, kept for this user's eyes alone."""
    with suppress(FileNotFoundError):
        auth_file().chmod(0o600)
        kept = auth_file().read_text(encoding="utf-8", errors="replace").strip()
        if re.fullmatch(r"stabledreamer:[\w-]{32,}", kept, re.ASCII):
            return kept
    made = f"stabledreamer:{secrets.token_urlsafe(32)}"
    _write_private(auth_file(), made + "\n")
    return made


def point_prefect_here(api: str) -> None:
    """Let the command `prefect` use this server when it is called in the repository's folder.

    prefect.toml makes it look at `PROFILES` there. People's own profiles are left alone, and so is
    ours where PREFECT_HOME is another.
    """
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        load_profiles,
        save_profiles,
    )

    places = [Path(os.environ[name]) for name in ("PREFECT_PROFILES_PATH", "PREFECT_HOME")]
    if places == [PROFILES, PROFILES.parent]:
        profiles = load_profiles(include_defaults=False)
        uses = {PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: auth_string()}
        profiles.update_profile(settings=uses, name=PROFILE)
        profiles.set_active(PROFILE)
        # Prefect writes into the file that is there, and leaves its mode as it is.
        _write_private(PROFILES, PROFILES.read_text() if PROFILES.exists() else "")
        save_profiles(profiles)


def _write_private(path: Path, text: str) -> None:
    """Write a file anew that nobody else could read at any time."""
    before = os.umask(0o077)
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    finally:
        os.umask(before)
