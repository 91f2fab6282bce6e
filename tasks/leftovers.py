"""What a run that was killed while it wrote a file has left in its asset folder.

stabledreamer_core/files.py writes `mesh.glb` as `.mesh-<8 characters>.glb` first. Only such names
of files that we write are known here, so that nobody's own hidden files are taken for ours.
"""

import re
from contextlib import suppress
from pathlib import Path

from tasks import ledger
from tasks.keys import STEPS
from tasks.run_record import NAME, REPORT

_RANDOM = "[a-z0-9_]{8}"  # of files.atomic_write


def _temporary(name: str) -> str:
    """The pattern of a file's temporary names, relative to the asset folder."""
    path = Path(name)
    folder = "" if path.parent == Path() else f"{path.parent.as_posix()}/"
    return re.escape(f"{folder}.{path.stem}-") + _RANDOM + re.escape(path.suffix)


_LEFT = re.compile(
    "|".join(
        [
            *(_temporary(name) for name in (NAME, REPORT, ledger.NAME)),
            *(
                _temporary(name)
                for step in STEPS.values()
                for name in (*step.outputs, *step.optional)
            ),
            # Resume states, below a step's key; the debugger's records of a run. What
            # `stabledreamer debug` writes without the lock is not here.
            rf"stage[12]/work/[0-9a-f]+/\.state-\d+-{_RANDOM}\.safetensors",
            rf"debug/stage[12]/\.(step-\d+|level-[\d.]+)-{_RANDOM}\.(png|json)",
        ]
    )
)


def remove_leftovers(out: Path) -> None:
    """Remove temporary files from an asset folder, while its lock is held: nobody writes them."""
    for path in out.rglob(".*"):
        if _LEFT.fullmatch(path.relative_to(out).as_posix()):
            with suppress(OSError):  # they harm nothing
                path.unlink()
