"""What `stabledreamer serve` has brought up, and the string that its server asks for.

state.json and auth_string lie in the folder `serve` of PREFECT_HOME.
"""

import json
import os
import re
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stabledreamer.runtime.processes import Known, find
from stabledreamer_core.errors import UserError

ROLES = ("server", "pages", "worker")


@dataclass
class Served:
    """What is up, or was."""

    port: int
    pages_port: int
    processes: dict[str, Known] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """Prefect's page."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        """Prefect's API."""
        return f"{self.page}/api"

    @property
    def pages(self) -> str:
        """The assets' pages."""
        return f"http://127.0.0.1:{self.pages_port}"

    def down(self) -> list[str]:
        """The roles whose process has ended."""
        return [role for role in ROLES if find(self.processes.get(role)) is None]


def folder() -> Path:
    """Where state and logs are."""
    return Path(os.environ["PREFECT_HOME"]).absolute() / "serve"


def auth_file() -> Path:
    """Where the string is that the server asks for."""
    return folder() / "auth_string"


def auth_string() -> str:
    """What the server asks for, `user:password`: made once, kept for this user's eyes alone."""
    with suppress(FileNotFoundError):
        auth_file().chmod(0o600)
        kept = auth_file().read_text(encoding="utf-8", errors="replace").strip()
        if re.fullmatch(r"stabledreamer:[\w-]{32,}", kept, re.ASCII):
            return kept
    made = f"stabledreamer:{secrets.token_urlsafe(32)}"
    write_private(auth_file(), made + "\n")
    return made


def read() -> Served | None:
    """What was brought up last, or None."""
    try:
        state = json.loads((folder() / "state.json").read_text(encoding="utf-8"))
        processes = {role: Known(**known) for role, known in state["processes"].items()}
        return Served(int(state["port"]), int(state["pages_port"]), processes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write_private(path: Path, text: str) -> None:
    """Write a file anew that nobody else could read at any time."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as output:
            output.write(text)
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
