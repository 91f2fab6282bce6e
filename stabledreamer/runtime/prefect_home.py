"""Prefect stays on this machine and quiet, unless the environment says otherwise.

Its files lie under .cache of this repository, it reports nothing home, and only what goes wrong is
told. Import this before Prefect.
"""

import os
from contextlib import suppress
from pathlib import Path

from stabledreamer.runtime.root import ROOT

CACHE = ROOT / ".cache"
PROFILES = CACHE / "prefect" / "profiles.toml"  # as in prefect.toml

_DEFAULTS = {
    "PREFECT_HOME": str(CACHE / "prefect"),
    "PREFECT_PROFILES_PATH": str(PROFILES),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # errors are raised, and told once
    "PREFECT_CLI_PROMPT": "false",
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
with suppress(OSError):  # tasks/checks.py says why it cannot be
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
