"""stabledreamer doctor: is everything there that a dream needs, and if not, what to do.

A check is a function that returns what it found in a line, or raises a `Problem` with a remedy.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

from cyclopts import App, Parameter

from stabledreamer.cli import doctor_machine as machine
from stabledreamer.cli import doctor_project as project
from stabledreamer.cli.doctor_problem import Problem
from stabledreamer_core.errors import UserError

REINSTALL = "install again: rm -rf .venv && make venv; if that does not help, please report this"
EPILOG = """\
example:
  stabledreamer doctor --json

The exit code is 0 if all is well and 1 if something is broken.
"""


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    check: str
    ok: bool
    says: str
    remedy: str | None = None


CHECKS: dict[str, Callable[[], str]] = {
    "python": machine.python,
    "torch": machine.torch_and_gpu,
    "threads": machine.threads,
    "memory": machine.memory,
    "disk": machine.disk,
    "numba cache": machine.numba_cache,
    "rasteriser": machine.rasteriser,
    "gsplat": machine.gsplat_on_gpu,
    "loopback": machine.loopback,
    "priors": project.priors,
    "judge": project.judge,
    "openvino": project.openvino,
    "video": project.video,
    "prefect": project.prefect,
    "server": project.server,
    "dvc": project.dvc,
}


app = App(name="doctor", help_epilogue=EPILOG)


@app.default
def doctor(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Check this installation.

    Checks Python, torch and its GPU, the rasteriser, the priors, disk, memory, Prefect and DVC, and
    says what to do about what is wrong.

    Args:
        as_json: print one JSON object.
    """
    findings = []
    for name, check in CHECKS.items():
        finding = examine(name, check)
        findings.append(finding)
        if not as_json:
            print(f"{'ok' if finding.ok else 'PROBLEM':8s} {name:12s} {finding.says}", flush=True)
            if finding.remedy:
                print(f"{'':21s} -> {finding.remedy}", flush=True)
    broken = sum(not finding.ok for finding in findings)
    if as_json:
        checks = [asdict(finding) for finding in findings]
        print(json.dumps({"ok": not broken, "checks": checks}, indent=2))
    else:
        print("all is well" if not broken else f"{broken} problem(s); a dream may fail")
    return 1 if broken else 0


def examine(name: str, check: Callable[[], str]) -> Finding:
    """One check's finding; a check that fails itself is a problem like any other."""
    try:
        return Finding(name, True, check())
    except Problem as problem:
        return Finding(name, False, _line(problem), problem.remedy)
    except UserError as error:  # says what to do after its semicolon, as all of them
        says, _, remedy = _line(error).partition("; ")
        return Finding(name, False, says, remedy or REINSTALL)
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {_line(error)}", REINSTALL)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
